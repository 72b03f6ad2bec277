package simulation

import "iter"

// A task is a thread of a process: a coroutine. Exactly one task runs at a time, and it
// runs until it parks; so all there is happens in one order, which the seed decides.
type task struct {
	process *process
	do      func()      // nil: it has been done
	wake    func(error) // ends the wait early; nil: it does not wait

	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
}

// spawn lets a process do something that may wait. It begins at once, or where the process
// stands still, when it goes on.
func (w *world) spawn(p *process, do func()) {
	if p.dead {
		return
	}
	t := w.task()
	t.process, t.do = p, do
	p.tasks[t] = w.count()
	p.after(0, func() { w.step(t) })
}

// task gives a coroutine that has nothing to do: one that was used before, if there is any.
func (w *world) task() *task {
	if n := len(w.idle); n > 0 {
		t := w.idle[n-1]
		w.idle = w.idle[:n-1]
		return t
	}
	t := &task{}
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		for more := true; more; more = yield(struct{}{}) {
			t.do()
			t.do = nil
		}
	})
	return t
}

// step runs a task until it parks or ends.
func (w *world) step(t *task) {
	before := w.running
	w.running = t
	t.next()
	w.running = before
	if t.do == nil {
		delete(t.process.tasks, t)
		t.process = nil
		w.idle = append(w.idle, t)
	}
}

// park stops the running task until wake is called, which start is given: the first call
// counts, and says what has come of the wait.
func (w *world) park(start func(wake func(error))) (err error) {
	t := w.running
	if t == nil {
		panic("simulation: nobody runs who could wait")
	}
	p := t.process
	if p.dead {
		return errDead
	}
	woken := false
	t.wake = func(e error) {
		if woken {
			return
		}
		woken, err, t.wake = true, e, nil
		if p.dead {
			w.step(t)
			return
		}
		p.after(0, func() { w.step(t) })
	}
	start(t.wake)
	t.yield(struct{}{})
	return err
}

// release ends the coroutines.
func (w *world) release() {
	for _, t := range w.idle {
		t.stop()
	}
}
