package simulation

import "iter"

// A task is a thread of a process: a coroutine. Exactly one task runs at a time, and it
// runs until it parks; so all there is happens in one order, which the seed decides.
type task struct {
	process *process
	next    func() (struct{}, bool)
	yield   func(struct{}) bool
	wake    func(error) // ends the wait early; nil: it does not wait
}

// spawn lets a process do something that may wait. It begins at once, or where the process
// stands still, when it goes on.
func (w *world) spawn(p *process, do func()) {
	t := &task{process: p}
	t.next, _ = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		do()
	})
	p.tasks[t] = w.count()
	p.after(0, func() { w.step(t) })
}

// step runs a task until it parks or ends.
func (w *world) step(t *task) {
	before := w.running
	w.running = t
	if _, more := t.next(); !more {
		delete(t.process.tasks, t)
	}
	w.running = before
}

// park stops the running task until wake is called, which start is given: the first call
// counts, and says what has come of the wait.
func (w *world) park(start func(wake func(error))) (err error) {
	t := w.running
	if t == nil {
		panic("simulation: nobody runs who could wait")
	}
	if t.process.dead {
		return errDead
	}
	woken := false
	t.wake = func(e error) {
		if woken {
			return
		}
		woken, err, t.wake = true, e, nil
		if t.process.dead {
			w.step(t)
			return
		}
		t.process.after(0, func() { w.step(t) })
	}
	start(t.wake)
	t.yield(struct{}{})
	return err
}
