package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// A crowd of callers is a process, too: it takes as little of the processors as it can, and its
// rate is bounded.

// loadVariable has loadOptions as JSON, in the environment of a load's process.
const loadVariable = "WATERMASTER_TEST_LOAD"

type loadOptions struct {
	Address      string
	Organization string // "": the calls are empty ones
	Rate         int    // calls a second
	Connections  int
}

// A loadReport tells of the time since the one before.
type loadReport struct {
	Sent, Answered int64
	CPU            int64 // µs
	Error          string
}

// sendLoad is the load's process. A line of 1 begins, one of 0 ends; each is answered with a
// report.
func sendLoad(options string) {
	var o loadOptions
	must(json.Unmarshal([]byte(options), &o))
	method := acquireMethod
	if o.Organization == "" {
		method = emptyMethod
	}
	var wires []*wire
	for range o.Connections {
		conn, err := net.Dial("tcp", o.Address)
		must(err)
		w := newWire(conn, method)
		w.keepOpen()
		go w.read()
		must(w.flush())
		wires = append(wires, w)
	}
	begin, end := make(chan bool), make(chan loadReport)
	go func() {
		id := 0
		for range begin {
			var r loadReport
			late := int64(0)
			start, cpu, answered := time.Now(), cpuTime(), answersOf(wires)
			for running := true; running; {
				due := int64(time.Since(start).Seconds()*float64(o.Rate)) - late
				if most := int64(o.Rate / 500); due-r.Sent > most { // it was held up, and does not make up for it
					late += due - r.Sent - most
					due = r.Sent + most
				}
				for ; r.Sent < due; r.Sent++ {
					id++
					wires[id%len(wires)].call(loadRequest(&o, id))
				}
				for _, w := range wires {
					if err := w.flush(); err != nil {
						r.Error = err.Error()
					}
				}
				select {
				case <-begin:
					running = false
				case <-time.After(time.Millisecond):
				}
			}
			r.CPU = cpuTime() - cpu
			time.Sleep(20 * time.Millisecond) // for the last answers
			r.Answered = answersOf(wires) - answered
			end <- r
		}
	}()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		begin <- true
		var r loadReport
		if on, _ := strconv.ParseBool(in.Text()); !on {
			r = <-end
		}
		must(json.NewEncoder(os.Stdout).Encode(r))
	}
	os.Exit(0)
}

// loadRequest asks for what there is not: of four calls one is refused, the others would
// queue.
func loadRequest(o *loadOptions, id int) proto.Message {
	if o.Organization == "" {
		return &emptypb.Empty{}
	}
	r := ask(strconv.Itoa(id), of(o.Organization), block(0))
	if id%4 == 0 {
		maxWait(0)(r)
	}
	return r
}

func answersOf(wires []*wire) (n int64) {
	for _, w := range wires {
		n += w.answers.Load()
	}
	return n
}

// cpuTime gives what this process has used, in µs.
func cpuTime() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return (u.Utime.Nano() + u.Stime.Nano()) / 1000
}

// callers are the load's process as a test sees it.
type callers struct {
	t   testing.TB
	in  io.WriteCloser
	out *json.Decoder
	cmd *exec.Cmd

	loadReport // of all turns
	began      time.Time
	took       time.Duration
}

// startLoad starts a load's process, which ends with the test. It is quiet at first.
func startLoad(t testing.TB, o loadOptions) *callers {
	t.Helper()
	options, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), loadVariable+"="+string(options))
	cmd.Stderr = os.Stderr
	c := &callers{t: t, cmd: cmd}
	c.in, _ = cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.out = json.NewDecoder(out)
	t.Cleanup(func() {
		c.in.Close()
		_ = cmd.Wait()
	})
	return c
}

// begin begins the load.
func (c *callers) begin() {
	c.t.Helper()
	c.say(true)
	c.began = time.Now()
}

// end ends it, and adds to the report.
func (c *callers) end() {
	c.t.Helper()
	r := c.say(false)
	c.Sent, c.Answered, c.CPU = c.Sent+r.Sent, c.Answered+r.Answered, c.CPU+r.CPU
	c.took += time.Since(c.began)
}

// rate gives the calls that were sent in a second.
func (c *callers) rate() float64 { return float64(c.Sent) / c.took.Seconds() }

func (c *callers) say(on bool) (r loadReport) {
	c.t.Helper()
	fmt.Fprintln(c.in, on)
	if err := c.out.Decode(&r); err != nil {
		c.t.Fatal(err)
	}
	if r.Error != "" {
		c.t.Fatal(r.Error)
	}
	return r
}
