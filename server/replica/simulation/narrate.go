package simulation

import (
	"fmt"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/replica"
)

// narrate tells of a command that a node applies, and what has come of it.
func (n *node) narrate(a *replica.Applying, events []limiter.Event) {
	w := n.process.world
	if w.story == nil {
		return
	}
	text := ""
	switch c := a.Command.(type) {
	case *limiter.Acquire:
		text = fmt.Sprintf("acquire %s as %s", keyName(c.Key), leaseName(c.Lease))
	case *limiter.Release:
		text = fmt.Sprintf("release %s, outcome %d", leaseName(c.Lease), c.Outcome)
	case *limiter.Cancel:
		text = fmt.Sprintf("cancel %s as %s, departure %d", keyName(c.Key), leaseName(c.Lease), c.Departure)
	case *limiter.Restore:
		text = "restore"
		for i := range c.Leases {
			text += " " + leaseName(c.Leases[i].Lease)
		}
	case *limiter.Renew:
		text = "renew"
	case *limiter.Loss:
		text = fmt.Sprintf("loss, history %x, restores %v", c.History, c.Restores)
	case *limiter.Join:
		text = "join"
	case *limiter.Configure:
		text = fmt.Sprintf("configure, kept %v", c.Kept)
	case *limiter.Tick:
		text = "tick"
	}
	for i := range events {
		switch ev := &events[i]; ev.Kind {
		case limiter.Granted:
			text += fmt.Sprintf("; %s is granted %s, again: %v", keyName(ev.Key), leaseName(ev.Lease), ev.Again)
		case limiter.Refused:
			text += fmt.Sprintf("; %s is refused for %d", keyName(ev.Key), ev.Reason)
		case limiter.Lapsed:
			text += fmt.Sprintf("; %s lapses", keyName(ev.Key))
		case limiter.Expired:
			text += fmt.Sprintf("; %s expires", leaseName(ev.Lease))
		case limiter.NotFound:
			text += fmt.Sprintf("; %s is not found", leaseName(ev.Lease))
		}
	}
	own := ""
	if a.Own != nil {
		own = "its own "
	}
	since := limiter.Time(a.Entry.Time) - limiter.Time(epoch)
	w.tell("  %s: %s%04x/%d.%d at %.3f: %s", n.process, own, a.Entry.Incarnation>>48, a.Entry.Number, a.Index, float64(since)/1e9, text)
}

func leaseName(l limiter.LeaseID) string { return fmt.Sprintf("%04x.%d", l.Incarnation>>48, l.Count) }

func keyName(k limiter.Key) string {
	name := fmt.Sprintf("job %d", uint64(k[6])<<8|uint64(k[7]))
	if k[15] > 0 {
		name += fmt.Sprintf(" (attempt %d)", k[15])
	}
	return name
}
