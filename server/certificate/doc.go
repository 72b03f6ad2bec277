// Package certificate gives TLS its certificates from files, and takes them anew when the
// files change: no restart, no goroutine, no watcher. A handshake looks at the files, at
// most once a second, by what is in them; so it does not matter how they are replaced,
// and the symbolic links of a Kubernetes volume work.
//
// What is new and cannot be used (a key that does not fit, half a file, a certificate that
// has expired) changes nothing: the old stays in use, the log says so once, and
// [Files.Failures] counts it. Connections that stand are left alone.
//
// Sessions are not resumed: one that began under a former authority would go on
// under it.
package certificate
