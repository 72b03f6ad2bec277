package config

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// hashOf is what stands under sha256 for a key.
func hashOf(key string) string {
	h := sha256.Sum256([]byte(key))
	return hex.EncodeToString(h[:])
}

func digest(text string) Digest {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return Digest(b)
}

// withCredentials puts credentials into a configuration, from the seventh line on. Its
// organization acme names its projects, and umbrella has a template.
func withCredentials(lines string) string {
	return `x-accounts: &accounts {a: {pools: {p: {models: [m]}}}}
organizations:
  acme: {accounts: *accounts, projects: {search: {}, ads-eu: {}, ads-us: {}}}
  umbrella: {accounts: *accounts, projects: {lab: {}, "*": {}}}
priority_classes: {interactive: {weight: 9}, standard: {}}
credentials:
` + lines + "\n"
}

// aKey is the rest of a credential.
var aKey = "sha256: " + hashOf("a good key")

var brokenCredentials = []brokenFile{
	{"credentials that are a key", atTop("credentials: my-key"), []string{
		`f:2:14: credentials must be a list of mappings, each with a name, an organization and a sha256`,
	}},
	{"a credential that is a key", withCredentials("- my-key"), []string{
		`f:7:3: a credential must be a mapping with a name, an organization and a sha256`,
	}},
	{"a credential of nothing", withCredentials("- {}"), []string{
		`f:7:3: a credential has no name`,
		`f:7:3: a credential has neither sha256 nor client_certificate: nobody could present it`,
		`f:7:3: a credential has no organization: name one, or "*" for all`,
	}},
	{"credential names", withCredentials("- {name: w/1, organization: acme, " + aKey + "}\n" +
		"- {name: w, organization: acme, sha256: " + hashOf("a") + "}\n- {name: w, organization: acme, sha256: " + hashOf("b") + "}"), []string{
		`f:7:10: credentials: the name "w/1" must be 1 to 128 of A-Z a-z 0-9 . _ : @ -`,
		`f:9:10: the credential w is given twice, first in line 8`,
	}},
	{"credential with an unknown key", withCredentials("- {name: w, organization: acme, sha265: " + hashOf("k") + "}"), []string{
		`f:7:3: the credential w has neither sha256 nor client_certificate: nobody could present it`,
		`f:7:33: unknown key "sha265" in the credential w (did you mean "sha256"?)`,
	}},
	{"the key for its hash", withCredentials("- {name: w, organization: acme, sha256: my-key}\n" +
		"- {name: v, organization: acme, sha256: [" + hashOf("k")[1:] + ", {my: key}, '']}\n- {name: u, organization: acme, sha256: []}"), []string{
		`f:7:41: sha256 must be the SHA-256 of the key in 64 hexadecimal digits, not the key itself`,
		`f:8:42: sha256 must be the SHA-256 of the key in 64 hexadecimal digits, not the key itself`,
		`f:8:107: sha256 has no value`,
		`f:8:118: sha256 has no value`,
		`f:9:41: sha256 has no value`,
	}},
	{"weak keys", withCredentials("- {name: w, organization: acme, sha256: [" + hashOf("") + ", " + hashOf("test") + ",\n" +
		hashOf("secret") + ", " + hashOf("changeme") + ", " + hashOf("\n") + "]}"), []string{
		`f:7:42: sha256 is that of an empty key or of a word that anybody would try: make a random key of 32 bytes`,
		`f:7:108: sha256 is that of an empty key or of a word that anybody would try: make a random key of 32 bytes`,
		`f:8:1: sha256 is that of an empty key or of a word that anybody would try: make a random key of 32 bytes`,
		`f:8:67: sha256 is that of an empty key or of a word that anybody would try: make a random key of 32 bytes`,
		`f:8:133: sha256 is that of an empty key or of a word that anybody would try: make a random key of 32 bytes`,
	}},
	{"a key twice", withCredentials("- {name: w, organization: acme, sha256: [" + hashOf("k") + ", " + strings.ToUpper(hashOf("k")) + "]}\n" +
		"- {name: v, organization: acme, sha256: " + hashOf("k") + "}"), []string{
		`f:7:108: the same sha256 twice in the credential w`,
		`f:8:41: the same sha256 as in the credential w: a key belongs to one`,
	}},
	{"too many keys", withCredentials("- {name: w, organization: acme, sha256: [" + strings.Repeat(hashOf("k")+", ", 17) + "]}"), []string{
		`f:7:41: more than 16 in sha256 of one credential`,
	}},
	{"a certificate twice", withCredentials("- {name: w, organization: acme, client_certificate: [a.example, a.example]}\n" +
		"- {name: v, organization: acme, client_certificate: a.example}\n" +
		`- {name: u, organization: acme, client_certificate: "a\n"}`), []string{
		`f:7:65: the client_certificate "a.example" twice in the credential w`,
		`f:8:53: the client_certificate "a.example" belongs to the credential w already`,
		`f:9:53: client_certificate must be a name in a certificate, 1 to 256 printable bytes, not "a\n"`,
	}},
	{"organization of a credential", withCredentials("- {name: w, organization: acne, projects: [x], " + aKey + "}"), []string{
		`f:7:27: unknown organization "acne" in the credential w (did you mean "acme"?)`,
	}},
	{"projects of a credential", withCredentials("- {name: w, organization: acme, projects: [serch, ads-eu, ads-*, adz*, 'a*b*', search], " + aKey + "}"), []string{
		`f:7:44: the credential w: there is no project "serch", and no template "*" for others (did you mean "search"?)`,
		`f:7:66: the credential w: there is no project "adz*", and no template "*" for others`,
		`f:7:72: the project "a*b*" must be 1 to 128 printable bytes, with one * at its end at most`,
	}},
	{"classes and services of a credential", withCredentials("- {name: w, organization: acme, priority_classes: [interactiv], services: [limitr, monitor], " + aKey + "}"), []string{
		`f:7:52: unknown priority class "interactiv" in the credential w: there are interactive, standard (did you mean "interactive"?)`,
		`f:7:76: unknown service "limitr" in the credential w: there are limiter, monitor, envoy, admin (did you mean "limiter"?)`,
	}},
	{"a credential for nothing", withCredentials("- {name: w, organization: acme, projects: [], priority_classes: [], services: , " + aKey + "}"), []string{
		`f:7:43: projects lists nothing: the credential w could do nothing`,
		`f:7:65: priority_classes lists nothing: the credential w could do nothing`,
		`f:7:79: services lists nothing: the credential w could do nothing`,
	}},
	{"a variable that is not set", withCredentials("- {name: w, organization: acme, sha256: '${WATERMASTER_UNSET}'}"), []string{
		`f:7:41: the environment has no WATERMASTER_UNSET: set it, or write ${WATERMASTER_UNSET:-otherwise}`,
	}},
	{"cold_start", inOrganization("cold_start: wiat"), []string{
		`f:4:17: cold_start must be one of pace, wait, trust, not "wiat" (did you mean "wait"?)`,
	}},
}
