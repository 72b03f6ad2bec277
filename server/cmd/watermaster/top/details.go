package top

import (
	"fmt"
	"strconv"
	"strings"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

var shapes = map[pb.LimitShape]string{
	pb.LimitShape_LIMIT_SHAPE_SLIDING_WINDOW: "sliding window",
	pb.LimitShape_LIMIT_SHAPE_TOKEN_BUCKET:   "token bucket",
	pb.LimitShape_LIMIT_SHAPE_CALENDAR:       "calendar",
	pb.LimitShape_LIMIT_SHAPE_STOCK:          "stock",
}

// details tell who uses a limit and who waits for it. A width of 0 is no bound.
func (r *row) details(width int) []line {
	l := r.limit
	kind := shapes[l.GetShape()]
	if w := l.GetWindow().AsDuration(); w > 0 {
		kind += " of " + duration(w)
	}
	quota := exact(l, l.GetQuota())
	if l.GetEffectiveQuota() != l.GetQuota() {
		quota = exact(l, l.GetEffectiveQuota()) + " of " + quota
	}
	name := r.scope + "  " + r.name
	if width > 0 {
		name = squeeze(name, width)
	}
	lines := []line{
		nil,
		{{name, bold}},
		{{fmt.Sprintf("quota %s, used %s, reserved %s, left %s; %s", quota, exact(l, l.GetHeld()),
			exact(l, l.GetReserved()), exact(l, l.GetRemaining()), kind), 0}},
	}
	nameWidth := widthOf("TOP CONSUMERS")
	for _, c := range l.GetByClass() {
		nameWidth = max(nameWidth, widthOf(clean(c.GetPriorityClass())))
	}
	for _, c := range l.GetTopConsumers() {
		nameWidth = max(nameWidth, widthOf(clean(c.GetProject())))
	}
	if width > 0 {
		nameWidth = max(8, min(nameWidth, width-17, 40))
	}
	part := func(name string, held int64, use float64) line {
		return line{{fmt.Sprintf("%s %7s ", pad(squeeze(clean(name), nameWidth), nameWidth, false), amount(l.GetMetric(), held)), 0},
			{pad(percent(use), 5, true), usage(use)}}
	}
	if len(l.GetTopConsumers()) > 0 {
		lines = append(lines, line{{pad("TOP CONSUMERS", nameWidth, false) + "    USED   USE", bold}})
		for _, c := range l.GetTopConsumers() {
			lines = append(lines, append(part(c.GetProject(), c.GetHeld(), c.GetUtilization()), piece{"  " + bar(c.GetUtilization(), barWidth), 0}))
		}
	}
	if len(l.GetByClass()) > 0 {
		lines = append(lines, line{{pad("CLASS", nameWidth, false) + "    USED   USE  WAIT LONGEST", bold}})
		for _, c := range l.GetByClass() {
			longest := "-"
			if c.GetWaiting() > 0 {
				longest = duration(c.GetLongestWait().AsDuration() + r.age)
			}
			lines = append(lines, append(part(c.GetPriorityClass(), c.GetHeld(), c.GetUtilization()),
				piece{fmt.Sprintf(" %5s %7s", amount("", c.GetWaiting()), longest), 0}))
		}
	}
	return lines
}

// exact writes an amount with all of its digits.
func exact(l *pb.LimitHeadroom, v int64) string {
	if l.GetMetric() == costMetric {
		return "$" + strings.TrimSuffix(strconv.FormatFloat(float64(v)/1e6, 'f', 2, 64), ".00")
	}
	s := strconv.FormatInt(v, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// fold leaves out the end of what has no room, and says so.
func fold(lines []line, room int) []line {
	if len(lines) <= room || room < 1 {
		return lines[:max(0, min(room, len(lines)))]
	}
	return append(lines[:room-1:room-1], line{{fmt.Sprintf("%s %d more lines", ellipsis, len(lines)-room+1), faint}})
}
