package server

import (
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// trendLength is how many samples are kept: an hour of them.
const trendLength = int(time.Hour / sampleEvery)

// trends are the utilizations of the limits over the last hour. Only sampling writes them:
// no decision waits for it.
type trends struct {
	mu      sync.Mutex
	byLimit map[limitKey]*series
}

// A series is a ring of samples, one every sampleEvery.
type series struct {
	values [trendLength]float32
	count  int // taken so far; the latest is at (count−1) % trendLength
	round  int // of sampling, in which it was last taken
}

func (r *series) add(v float32) {
	r.values[r.count%trendLength] = v
	r.count++
}

// len is how many samples there are.
func (r *series) len() int { return min(r.count, trendLength) }

// at gives the i-th sample, the oldest first.
func (r *series) at(i int) float64 {
	return float64(r.values[(r.count-r.len()+i)%trendLength])
}

// leastTrend is how many samples a slope takes: five minutes of them. What happens in less
// says nothing about an hour.
const leastTrend = 30

// slope is that of the line that fits the samples best, per hour; 0 while there are few.
func (r *series) slope() float64 {
	n := r.len()
	if n < leastTrend {
		return 0
	}
	var mean float64
	for i := range n {
		mean += r.at(i)
	}
	mean /= float64(n)
	center := float64(n-1) / 2
	var covariance, variance float64
	for i := range n {
		x := float64(i) - center
		covariance += x * (r.at(i) - mean)
		variance += x * x
	}
	return covariance / variance * float64(trendLength)
}

// trend shows a series, of each stride samples the last.
func (r *series) trend(stride int) *pb.Trend {
	t := &pb.Trend{Step: durationpb.New(time.Duration(stride) * sampleEvery), SlopePerHour: r.slope()}
	n := r.len()
	for i := (n - 1) % stride; i < n; i += stride {
		t.Utilization = append(t.Utilization, r.at(i))
	}
	return t
}

// sample takes samples until the server closes.
func (s *Server) sample() {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for round := 1; ; round++ {
		select {
		case <-s.closing:
			return
		case <-ticker.C:
			for _, o := range s.directory.Load().list {
				o.sample(round)
			}
		}
	}
}

// sample takes one sample of every limit, and forgets those that are gone.
func (o *organization) sample(round int) {
	o.refresh()
	o.replica.Lock()
	if o.replica.Lost() {
		o.replica.Unlock()
		return
	}
	limits := o.engine().Limits(o.now())
	o.replica.Unlock()

	t := &o.trends
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byLimit == nil {
		t.byLimit = map[limitKey]*series{}
	}
	for i := range limits {
		key := keyOf(&limits[i])
		r := t.byLimit[key]
		if r == nil {
			r = &series{}
			t.byLimit[key] = r
		}
		r.add(float32(utilization(&limits[i])))
		r.round = round
	}
	for key, r := range t.byLimit {
		if r.round != round {
			delete(t.byLimit, key)
		}
	}
}

// of gives the trend of a limit, and its slope.
func (t *trends) of(key limitKey, stride int) (*pb.Trend, float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.byLimit[key]
	if r == nil {
		return &pb.Trend{Step: durationpb.New(time.Duration(stride) * sampleEvery)}, 0
	}
	out := r.trend(stride)
	return out, out.SlopePerHour
}
