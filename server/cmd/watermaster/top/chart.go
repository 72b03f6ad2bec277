package top

import (
	"math"
	"strings"
	"time"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// bar draws a part of a whole, full from 1 on. A little is seen, and what is not full does
// not look so.
func bar(part float64, width int) string {
	n := int(math.Round(part * float64(width)))
	switch {
	case math.IsNaN(part) || part <= 0:
		n = 0
	case part >= 1:
		n = width
	default:
		n = min(max(n, 1), width-1)
	}
	return strings.Repeat("█", n) + strings.Repeat("░", width-n)
}

var levels = []rune(" ▁▂▃▄▅▆▇█")

// sparkline draws the last hour of a utilization, the present at the right: each column
// has the highest of its part of the hour, and is empty where nothing is known.
func sparkline(t *pb.Trend, width int) string {
	line := []rune(strings.Repeat(" ", width))
	step := t.GetStep().AsDuration()
	if step <= 0 {
		return string(line)
	}
	most := make([]float64, width)
	values := t.GetUtilization()
	for i, v := range values {
		age := time.Duration(len(values)-1-i) * step
		x := width - 1 - int(int64(age)*int64(width)/int64(time.Hour))
		if x < 0 || math.IsNaN(v) {
			continue
		}
		most[x] = max(most[x], v)
		line[x] = level(most[x])
	}
	return string(line)
}

// level gives a utilization a height; 0 has the lowest, and only what is full the highest.
func level(v float64) rune {
	top := len(levels) - 1
	if v >= 1 {
		return levels[top]
	}
	return levels[1+int(max(0, v)*float64(top-1))]
}
