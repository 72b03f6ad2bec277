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
	const times, most = 50, 1.5
	tests := []struct {
		name  string
		limit int // calls a second
		empty bool
	}{
		// Beside a load that leaves the processors time p99 is what it is alone.
		{"against none", 20, false},
		// As many calls that do nothing cost the most of what is seen here, two processors being
		// what they are: refusing and queueing does not add to it.
		{"against empty calls", 200, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := startRemote(t, remoteOptions{Config: fmt.Sprintf(neighbours, 10*tt.limit)}, 4)
			quiet := &prober{t: t, conns: r.conns, organization: "quiet"}
			loud := startLoad(t, loadOptions{Address: r.GRPC, Organization: "loud", Rate: times * tt.limit, Connections: 2})
			pids := []int{r.cmd.Process.Pid, loud.cmd.Process.Pid}
			var without disturbance = alone{}
			if tt.empty {
				empty := startLoad(t, loadOptions{Address: r.GRPC, Rate: times * tt.limit, Connections: 2})
				without, pids = empty, append(pids, empty.cmd.Process.Pid)
			}
			loud.begin() // warm
			quiet.probe(time.Second)
			loud.end()
			c := quiet.compare(pids, 5, time.Second, 12*time.Second, without, loud)
			t.Logf("%.0f calls/s: %d of %d were answered; the load took %.2f processors", loud.rate(), loud.Answered, loud.Sent,
				float64(loud.CPU)/1e6/loud.took.Seconds())
			if loud.Answered < loud.Sent*99/100 {
				t.Errorf("%d of %d were answered", loud.Answered, loud.Sent)
			}
			c.judge(t, most)
		})
	}
}
