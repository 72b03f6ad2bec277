package top

import (
	"fmt"
	"time"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// quietFor is after how long a replica that is not heard of may have gone, or has no callers.
const quietFor = 10 * time.Second

// sharing tells in a few words of the log that replicas share; nothing where none is.
func sharing(l *pb.SharedLog) (parts []piece) {
	if l == nil {
		return nil
	}
	if l.Away != nil {
		parts = append(parts, piece{"store away", alarm})
	}
	if c := l.GetRollCall(); c != nil {
		parts = append(parts, piece{fmt.Sprintf("roll call, %d missing", c.GetMissing()), alarm})
	}
	return append(parts, piece{count(len(l.GetReplicas()), "replica"), 0})
}

// replicas tell of the log that replicas share, and of each of them. What was heard when the
// message came is older by age.
func replicas(l *pb.SharedLog, age time.Duration) (lines []line) {
	if l == nil {
		return []line{{{"one process alone serves the organization", 0}}}
	}
	at := fmt.Sprintf("log at %s, read %s ago", clean(l.GetPosition()), duration(l.GetAge().AsDuration()+age))
	look := style(0)
	if l.GetEnd() != "" && l.GetEnd() != l.GetPosition() {
		at, look = at+"; its end is "+clean(l.GetEnd()), caution
	}
	lines = append(lines, line{{at, look}})
	if l.Away != nil {
		lines = append(lines, line{{"the store cannot be reached for " + duration(l.Away.AsDuration()+age) + ": this replica decides alone, as when_away says", alarm}})
	}
	if l.GetEntries() > 0 {
		lines = append(lines, line{{fmt.Sprintf("%s of %sB, and a state of %sB before them; rules %d",
			entries(l.GetEntries()), amount("", l.GetLogBytes()), amount("", l.GetSnapshotBytes()), l.GetBehaviour()), 0}})
	}
	if c := l.GetRollCall(); c != nil {
		lines = append(lines, line{{fmt.Sprintf("roll call for %s: nothing is granted until %s has put back what it knows",
			duration(c.GetSince().AsDuration()+age), count(int(c.GetMissing()), "replica")), alarm}})
	}
	lines = append(lines, line{{"REPLICA            HEARD  WAIT  KNOWS RULES", bold}})
	for _, r := range l.GetReplicas() {
		since := r.GetHeard().AsDuration() + age
		look := style(0)
		if since > quietFor {
			look = faint
		}
		text := fmt.Sprintf("%-16s  %6s  %4s  %11d", clean(r.GetIncarnation()), duration(since), amount("", r.GetWaiting()), r.GetBehaviour())
		if r.GetSelf() {
			text += "  answers here"
		}
		lines = append(lines, line{{text, look}})
	}
	return lines
}

func entries(n int64) string {
	if n == 1 {
		return "1 entry"
	}
	return amount("", n) + " entries"
}
