package server

import (
	"testing"
	"time"
)

// neighbours are two organizations, of which the loud one may make 200 calls a second.
const neighbours = `
cold_start: trust
organizations:
  loud:
    accounts: {a: {provider: openai, margin: 0%, pools: {p: {models: [m], limits: {requests: {quota: 2000, window: 10s, shape: token_bucket}}}}}}
    projects: {"*": {}}
    routes: {one: {targets: [{account: a, model: m}]}}
  quiet:
    accounts: {a: {provider: openai, pools: {p: {models: [m], limits: {requests: 1G/min, tokens: 1000G/min, concurrency: 1000}}}}}
    projects: {"*": {}}
    routes: {one: {targets: [{account: a, model: m}]}}
`

// TestNeighbours: one organization at 50 times its limit leaves another's p99 within one and a
// half times of what it is alone.
func TestNeighbours(t *testing.T) {
	heavy(t)
	const rate, most = 50 * 200, 1.5
	r := startRemote(t, remoteOptions{Config: neighbours}, 1)
	load := startLoad(t, loadOptions{Address: r.GRPC, Organization: "loud", Rate: rate, Connections: 10})
	quiet := &prober{t: t, conn: r.conns[0], organization: "quiet"}
	var all loadReport
	var loaded time.Duration
	var served, before int64
	var began time.Time
	begin := func() {
		before, began = r.figures(false).CPU, time.Now()
		load.turn(true)
	}
	end := func() {
		one := load.turn(false)
		loaded += time.Since(began)
		served += r.figures(false).CPU - before
		all.Sent, all.Answered, all.CPU = all.Sent+one.Sent, all.Answered+one.Answered, all.CPU+one.CPU
	}
	begin() // warm
	quiet.probe(time.Second)
	end()
	c := quiet.compare([]int{r.cmd.Process.Pid, load.cmd.Process.Pid}, 9, time.Second, begin, end)
	s := loaded.Seconds()
	t.Logf("%.0f calls/s: %d of %d were answered; the load took %.2f processors, the server %.2f", float64(all.Sent)/s, all.Answered, all.Sent,
		float64(all.CPU)/1e6/s, float64(served)/1e6/s)
	if all.Answered < all.Sent*99/100 {
		t.Errorf("%d of %d were answered", all.Answered, all.Sent)
	}
	c.judge(t, most)
}
