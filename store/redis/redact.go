package redis

import "strings"

// Redact gives a URL as Open takes it without its password, for people to read; also one that
// Open would not take.
func Redact(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		scheme, rest = "", url
	} else {
		scheme += "://"
	}
	// A password with a slash or an @ in it ought to have them escaped: it may not be.
	i := strings.LastIndexByte(rest, '@')
	if i < 0 {
		return url
	}
	user, password, _ := strings.Cut(rest[:i], ":")
	if password == "" {
		return url
	}
	return scheme + user + ":***" + rest[i:]
}
