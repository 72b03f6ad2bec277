package provider

// A judge decides by one shape. Times are nanoseconds since the start and never go
// back; amounts are ≥ 0.
type judge interface {
	// wait is the time until amount fits if nothing else happens: 0 when it does now,
	// never when it cannot, unknown for a stock. It changes nothing.
	wait(now, amount int64) int64

	// charge counts amount, whether it fits or not. The mark finds it again.
	charge(now, amount int64) (mark int64)

	// credit takes back up to amount of a charge and says how much it took.
	credit(now, mark, amount int64) int64

	// level is what the limit stands at after the latest charge, rounded up.
	level() int64
}

const (
	never   = -1
	unknown = -2
)

func newJudge(l Limit) judge {
	switch l.Shape {
	case Bucket:
		return &bucket{quota: uint64(l.Quota), window: uint64(l.Window), burst: uint64(l.bound())}
	case Sliding:
		return &sliding{quota: l.Quota, recent: recent{window: int64(l.Window)}}
	case Fixed:
		return &fixed{quota: l.Quota, window: int64(l.Window), phase: int64(l.Phase % l.Window)}
	default:
		return &stock{quota: l.Quota}
	}
}
