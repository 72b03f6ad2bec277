package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/store/memory"
)

// BenchmarkScrape measures a scrape of an organization with many projects: how long nothing
// is decided meanwhile (hold), and how long it takes in all.
func BenchmarkScrape(b *testing.B) {
	for _, projects := range []int{100, 1000, 10_000} {
		var named strings.Builder
		for i := range projects {
			fmt.Fprintf(&named, "      p-%05d: {limits: {requests: 1G/min, tokens: 1000G/min}}\n", i)
		}
		yaml := strings.Replace(anybody, `      "*":`, named.String()+`      "*":`, 1)
		s, err := New(b.Context(), Options{Config: parse(b, yaml), Log: memory.Open(memory.Options{})})
		if err != nil {
			b.Fatal(err)
		}
		for i := range projects {
			useOf(b, s, name("p", i), name("p", i))
			useOf(b, s, fmt.Sprintf("p-%05d", i), name("q", i))
		}
		o := s.directory.Load().list[0]
		for i := range 10_000 {
			o.places[limiter.Key{byte(i), byte(i >> 8)}] = &place{class: "batch"}
		}
		g := s.Metrics()
		b.Run(fmt.Sprintf("hold/projects=%d", projects), func(b *testing.B) {
			for b.Loop() {
				o.stand()
			}
		})
		b.Run(fmt.Sprintf("all/projects=%d", projects), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(float64(len(exposition(b, g))), "bytes")
			}
		})
		s.Close()
	}
}
