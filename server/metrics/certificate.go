package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	certificateNotAfter = describe("watermaster_certificate_not_after_timestamp_seconds",
		"When the server's certificate ends, in seconds since 1970. Absent without TLS.")
	certificateReloads = describe("watermaster_certificate_reloads_total",
		"Changed certificate files that came into use.")
	certificateFailures = describe("watermaster_certificate_reload_failures_total",
		"Changed certificate files that could not be used: the certificate before them stays.")
)

// A Certificate tells of the files of the server's certificate.
type Certificate interface {
	NotAfter() time.Time
	Reloads() int64
	Failures() int64
}

// SetCertificate adds what is to be told of the server's certificate. It comes before the
// first scrape.
func (s *Set) SetCertificate(c Certificate) { s.certificate = c }

// collectCertificate tells nothing where there is no TLS.
func (s *Set) collectCertificate(to chan<- prometheus.Metric) {
	if s.certificate == nil {
		return
	}
	to <- gauge(certificateNotAfter, float64(s.certificate.NotAfter().Unix()))
	to <- counter(certificateReloads, uint64(s.certificate.Reloads()))
	to <- counter(certificateFailures, uint64(s.certificate.Failures()))
}
