package simulate

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestPlotIsXML(t *testing.T) {
	for _, change := range []func(*Options){
		func(*Options) {},
		func(o *Options) { o.Alone = true },
		func(o *Options) { o.Rows, o.Load = 1, 0 }, // no time at all passes
		func(o *Options) { // what must be escaped
			text, err := os.ReadFile(o.Trace)
			if err != nil {
				t.Fatal(err)
			}
			o.Trace = filepath.Join(t.TempDir(), "a<&b>'c.csv")
			if err := os.WriteFile(o.Trace, text, 0o644); err != nil {
				t.Fatal(err)
			}
		},
	} {
		o := sample(t, tight, "servegen_image.csv")
		change(&o)
		var b bytes.Buffer
		if err := mustReplay(t, o).WritePlot(&b); err != nil {
			t.Fatal(err)
		}
		if s := b.String(); strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
			t.Error("the plot has numbers that are none")
		}
		count := map[string]int{}
		d := xml.NewDecoder(&b)
		for {
			tok, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := tok.(xml.StartElement); ok {
				count[e.Name.Local]++
			}
		}
		if count["svg"] != 1 || count["rect"] != 3 || count["polygon"] == 0 || count["text"] < 12 {
			t.Errorf("elements %v", count)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		most float64
		want []float64
	}{
		{1, []float64{0, 1}},
		{3, []float64{0, 1, 2, 3}},
		{105, []float64{0, 25, 50, 75, 100, 125}},
		{180, []float64{0, 50, 100, 150, 200}},
		{4200, []float64{0, 1000, 2000, 3000, 4000, 5000}},
	} {
		if got, top := niceTicks(c.most); !reflect.DeepEqual(got, c.want) || top < c.most {
			t.Errorf("ticks to %v are %v, want %v", c.most, got, c.want)
		}
	}
	for _, span := range []time.Duration{time.Second, 17 * time.Second, time.Minute, time.Hour, 12 * time.Hour, 30 * 24 * time.Hour, 4000 * time.Hour} {
		if n := len(timeTicks(span)); n < 2 || n > 12 {
			t.Errorf("%d ticks over %v", n, span)
		}
	}
}

func TestWrittenNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{grouped(0), "0"}, {grouped(999), "999"}, {grouped(1000), "1,000"}, {grouped(-1234567), "-1,234,567"}, {grouped(-123), "-123"},
		{span(0), "0s"}, {span(12345 * time.Microsecond), "12ms"}, {span(2345 * time.Millisecond), "2.35s"}, {span(59960 * time.Millisecond), "1m00s"},
		{span(61 * time.Second), "1m01s"}, {span(59*time.Minute + 59600*time.Millisecond), "1h00m"}, {span(100 * time.Minute), "1h40m"},
		{shortSpan(90 * time.Minute), "1h30m"}, {shortSpan(time.Hour), "1h"}, {shortSpan(10 * time.Minute), "10m"}, {shortSpan(90 * time.Second), "1m30s"}, {shortSpan(0), "0s"},
		{percent(0.12345, 1), "12.3 %"}, {short(1500), "1.5k"}, {short(20), "20"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestMeter(t *testing.T) {
	now := time.Unix(0, 0)
	show := func(terminal bool, steps int) string {
		var b bytes.Buffer
		m := Meter{Out: &b, Terminal: terminal, Now: func() time.Time { return now }}
		for i := range steps {
			m.Show(Progress{Phase: "replay", Done: float64(i) / float64(steps), Calls: int64(1000 * i), At: time.Duration(i) * time.Minute})
			now = now.Add(time.Second)
		}
		m.Clear()
		return b.String()
	}
	if got, want := show(false, 8), "replay  38 %  3,000 calls, 3m00s of traffic, 60 × as fast\nreplay  75 %  6,000 calls, 6m00s of traffic, 60 × as fast\n"; got != want {
		t.Errorf("lines\n%s\nwant\n%s", got, want)
	}
	bar := show(true, 2)
	if !strings.HasSuffix(bar, "\r\x1b[K") || strings.Count(bar, "\n") != 0 || !strings.Contains(bar, "[###############···············] replay  50 %") {
		t.Errorf("bar %q", bar)
	}
}
