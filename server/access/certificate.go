package access

import "crypto/tls"

// NamesOf gives the names in the client certificate of a connection: its URIs, its DNS
// names and, only if it has neither, its common name, since an authority that vouches for
// the former need not look at the latter. A certificate that was not verified has none.
func NamesOf(state *tls.ConnectionState) []string {
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return nil
	}
	certificate := state.VerifiedChains[0][0]
	names := make([]string, 0, len(certificate.URIs)+len(certificate.DNSNames)+1)
	for _, uri := range certificate.URIs {
		names = append(names, uri.String())
	}
	names = append(names, certificate.DNSNames...)
	if cn := certificate.Subject.CommonName; len(names) == 0 && cn != "" {
		names = append(names, cn)
	}
	return names
}
