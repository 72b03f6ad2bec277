package server

import (
	"fmt"
	"testing"
	"time"
)

// neighbours are two organizations, of which the loud one may make so many calls in ten seconds.
const neighbours = `
cold_start: trust
organizations:
  loud:
    accounts: {a: {provider: openai, margin: 0%%, pools: {p: {models: [m], limits: {requests: {quota: %d, window: 10s, shape: token_bucket}}}}}}
    projects: {"*": {}}
    routes: {one: {targets: [{account: a, model: m}]}}
  quiet:
    accounts: {a: {provider: openai, pools: {p: {models: [m], limits: {requests: 1G/min, tokens: 1000G/min, concurrency: 1000}}}}}
    projects: {"*": {}}
    routes: {one: {targets: [{account: a, model: m}]}}
`

// TestNeighbours: one organization at 50 times its limit, most of whose calls are refused or
// queued, and what that does to another's p99.
func TestNeighbours(t *testing.T) {
	heavy(t)
	const times = 50
	tests := []struct {
		name  string
		limit int // calls a second
		empty bool
		most  float64 // 0: it is told
	}{
		// A load that leaves the processors time.
		{"against none", 20, false, 1.5},
		// One that does not, on two processors that it shares with its callers: there a tail is
		// one of waiting for a processor, and calls that do nothing make it too. How much of it
		// refusing and queueing adds depends on how near to the end the machine is.
		{"against empty calls", 200, true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := startRemote(t, remoteOptions{Config: fmt.Sprintf(neighbours, 10*tt.limit)}, 4)
			quiet := &prober{t: t, conns: r.conns, organization: "quiet"}
			loud := startLoad(t, loadOptions{Address: r.GRPC, Organization: "loud", Rate: times * tt.limit, Connections: 2})
			pids := []int{r.cmd.Process.Pid, loud.cmd.Process.Pid}
			var without disturbance = undisturbed{}
			if tt.empty {
				empty := startLoad(t, loadOptions{Address: r.GRPC, Rate: times * tt.limit, Connections: 2})
				without, pids = empty, append(pids, empty.cmd.Process.Pid)
			}
			loud.begin() // warm
			quiet.probe(time.Second)
			loud.end()
			c := quiet.compare(pids, 9, 500*time.Millisecond, 12*time.Second, without, loud)
			if len(c.Without) >= leastTurns && tt.most > 0 && c.ratio() > tt.most {
				t.Logf("%.2f times in %d turns: more are taken", c.ratio(), len(c.Without))
				more := quiet.compare(pids, 18, 500*time.Millisecond, 24*time.Second, without, loud)
				c.Without, c.With = append(c.Without, more.Without...), append(c.With, more.With...)
			}
			t.Logf("%.0f calls/s: %d of %d were answered; the load took %.2f processors", loud.rate(), loud.Answered, loud.Sent,
				float64(loud.CPU)/1e6/loud.took.Seconds())
			if loud.Answered < loud.Sent*99/100 && len(c.Without) >= leastTurns { // else the processors were others'
				t.Errorf("%d of %d were answered", loud.Answered, loud.Sent)
			}
			c.judge(t, tt.most)
		})
	}
}
