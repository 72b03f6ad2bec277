package config

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/watermaster-project/watermaster/limiter"
)

// soundsSecret says whether a key may have a secret for its value: apiKey, x-access-token,
// sha256, … A key with a ${VAR} may be any.
func soundsSecret(key string) bool {
	return strings.Contains(key, "${") || secretWord.MatchString(strings.ToLower(key))
}

const secretWords = `key|token|secret|pass|pwd|auth|credential|private|bearer|cookie|session|jwt|sha256|hash|signature|cert|pem`

var (
	secretWord = regexp.MustCompile(secretWords)
	// userinfo is what stands before the @ of a URL. A password may have any letters.
	userinfo = regexp.MustCompile(`//[^\n]*@`)
	// pair is key: value or key=value within a text, as in a query or a line that is
	// commented out; what follows may all belong to the value.
	pair = regexp.MustCompile(`(?is)((?:` + secretWords + `)[^\n:=]*[:=]\s*).+`)
	// shape is what looks like a key, a hash of one or a certificate whatever it is called.
	shape = regexp.MustCompile(`(?is)\b(?:bearer|basic)\s+[\w.~+/=-]{16,}|\b(?:wm_|sk-|eyJ)[\w.-]{8,}|\b[0-9a-f]{64}\b|-----BEGIN.*`)
)

// withoutSecrets replaces in any text what a secret looks like.
func withoutSecrets(text string) string {
	text = userinfo.ReplaceAllString(text, "//"+redacted+"@")
	text = pair.ReplaceAllString(text, "${1}"+redacted)
	return shape.ReplaceAllString(text, redacted)
}

// isLimit says whether an entry is a limit of tokens, as an x-… key may hold it for
// others: the metric sounds like a secret.
func isLimit(metric string, value *yaml.Node) bool {
	if _, ok := limiter.BuiltinMetric(metric); !ok {
		return false
	}
	value = follow(value)
	switch value.Kind {
	case yaml.ScalarNode:
		return limitText.MatchString(value.Value)
	case yaml.SequenceNode:
		return !slices.ContainsFunc(value.Content, func(n *yaml.Node) bool {
			return follow(n).Kind == yaml.SequenceNode || !isLimit(metric, n)
		})
	case yaml.MappingNode:
		for i := 0; i+1 < len(value.Content); i += 2 {
			key, v := follow(value.Content[i]), follow(value.Content[i+1])
			if !slices.Contains(limitKeys, key.Value) || v.Kind != yaml.ScalarNode || !limitText.MatchString(v.Value) {
				return false
			}
		}
		return true
	}
	return false
}

// limitText is a quota with or without its window, a window, a share or a shape.
var limitText = regexp.MustCompile(`^(?:\$?[0-9][0-9_.]{0,20}[kMG]?(?: ?/ ?[0-9]{0,5}[a-z]{1,5})?|(?:[0-9.]{1,8}[a-z]{1,5}){1,3}|[0-9.]{1,8}%|` +
	`s|m|min|h|day|week|month|sliding_window|token_bucket|calendar)$`)
