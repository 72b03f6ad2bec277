package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
)

const (
	maxCredentials = 10_000
	// maxKeys bounds the keys of one credential, and its certificates: rotation needs two.
	maxKeys = 16
	// anyOrganization stands for all organizations.
	anyOrganization = "*"
)

// The services that a credential may be for.
const (
	ServiceLimiter = "limiter"
	ServiceMonitor = "monitor"
	ServiceEnvoy   = "envoy"
	ServiceAdmin   = "admin"
)

// A credentialReader reads `credentials:`.
type credentialReader struct {
	*reader
	organizations []Organization // by name, ascending
	classes       []string
	projects      map[string]*projectNames // of an organization

	lines        map[string]int // of credentials, by name
	keys         map[Digest]string
	certificates map[string]string
}

// projectNames are the projects that there can be in an organization, or in all.
type projectNames struct {
	sorted   []string
	template bool // there may be others, too
}

// readCredentials reads `credentials:`, who may use which organizations.
func (r *reader) readCredentials(top fields, c *Config) []Credential {
	list := top.value("credentials")
	if list == nil || list.null {
		return nil
	}
	if list.kind != sequence { // not quoted: it may be a key
		r.fail(list, "", "credentials must be a list of mappings, each with a name, an organization and a sha256")
		return nil
	}
	if len(list.items) > maxCredentials {
		r.fail(list.items[maxCredentials], "", "more than %s credentials", grouped(maxCredentials))
		return nil
	}
	cr := credentialReader{
		reader: r, organizations: c.Organizations, projects: make(map[string]*projectNames),
		lines: make(map[string]int), keys: make(map[Digest]string), certificates: make(map[string]string),
	}
	for _, class := range c.Classes {
		cr.classes = append(cr.classes, class.Name)
	}
	var all []Credential
	for _, n := range list.items {
		if n.kind != mapping {
			r.fail(n, "", "a credential must be a mapping with a name, an organization and a sha256")
			continue
		}
		all = append(all, cr.read(n))
	}
	slices.SortFunc(all, func(a, b Credential) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func (r *credentialReader) read(n *node) Credential {
	var c Credential
	what := "a credential"
	for _, e := range n.entries {
		if e.key.text == "name" && checkName(e.value.text) == nil {
			what = "the credential " + e.value.text
		}
	}
	f := r.fields(n, what, "name", "sha256", "client_certificate", "organization", "projects", "priority_classes", "services")
	c.Name = r.readName(f)
	c.SHA256 = r.readKeys(f, c.Name)
	c.Certificates = r.readCertificates(f, c.Name)
	if f.value("sha256") == nil && f.value("client_certificate") == nil {
		r.fail(n, "", "%s has neither sha256 nor client_certificate: nobody could present it", what)
	}
	c.Organization = r.readOrganization(f)
	c.Projects = r.readProjects(f, c.Organization)
	c.PriorityClasses = r.chosen(f, "priority_classes", "priority class", r.classes)
	c.Services = []string{ServiceLimiter, ServiceMonitor}
	if f.value("services") != nil {
		c.Services = r.chosen(f, "services", "service", []string{ServiceLimiter, ServiceMonitor, ServiceEnvoy, ServiceAdmin})
	}
	return c
}

func (r *credentialReader) readName(f fields) string {
	name := f.text("name", "")
	if name == "" {
		if f.value("name") == nil {
			r.fail(f.at, "", "a credential has no name")
		}
		return ""
	}
	if err := checkName(name); err != nil {
		r.fail(f.value("name"), "", "credentials: %v", err)
	} else if line, taken := r.lines[name]; taken {
		r.fail(f.value("name"), "", "the credential %s is given twice, first in line %d", name, line)
	} else {
		r.lines[name] = f.value("name").line
	}
	return name
}

// oneOrMore gives the texts under a key: one, or a list of them. Unlike in [fields.words]
// nothing is quoted in a message, for it may be a secret.
func (r *credentialReader) oneOrMore(f fields, key string) (good []*node) {
	n := f.value(key)
	if n == nil || n.broken {
		return nil
	}
	all := []*node{n}
	if n.kind == sequence {
		all = n.items
	}
	if len(all) > maxKeys {
		r.fail(n, "", "more than %d in %s of one credential", maxKeys, key)
		return nil
	}
	for _, n := range all {
		if n.kind != scalar || n.text == "" && !n.broken {
			r.fail(n, "", "%s has no value", key)
		} else if !n.broken {
			good = append(good, n)
		}
	}
	if len(all) == 0 {
		r.fail(n, "", "%s has no value", key)
	}
	return good
}

// readKeys reads `sha256:`.
func (r *credentialReader) readKeys(f fields, name string) []Digest {
	var keys []Digest
	for _, n := range r.oneOrMore(f, "sha256") {
		b, err := hex.DecodeString(n.text)
		if err != nil || len(b) != sha256.Size {
			r.fail(n, "", "sha256 must be the SHA-256 of the key in %d hexadecimal digits, not the key itself", 2*sha256.Size)
			continue
		}
		d := Digest(b)
		other, taken := r.keys[d]
		switch {
		case weakKeys[d]:
			r.fail(n, "", "sha256 is that of an empty key or of a word that anybody would try: make a random key of 32 bytes")
		case taken && other == name:
			r.fail(n, "", "the same sha256 twice in %s", f.what)
		case taken:
			r.fail(n, "", "the same sha256 as in the credential %s: a key belongs to one", other)
		default:
			r.keys[d] = name
			keys = append(keys, d)
		}
	}
	return keys
}

// weakKeys are the hashes of what is no key: nothing, and what stands in examples; each
// as such and with the newline that echo adds.
var weakKeys = func() map[Digest]bool {
	weak := make(map[Digest]bool)
	for _, word := range strings.Split(
		",test,secret,changeme,change-me,change_me,password,passwd,default,example,placeholder,key,apikey,api-key,api_key,"+
			"token,admin,root,demo,dev,foo,bar,123456,12345678,wm_,watermaster,REDACTED,null", ",") {
		weak[sha256.Sum256([]byte(word))] = true
		weak[sha256.Sum256([]byte(word+"\n"))] = true
	}
	return weak
}()

// readCertificates reads `client_certificate:`.
func (r *credentialReader) readCertificates(f fields, name string) []string {
	const longest = 256
	var names []string
	for _, n := range r.oneOrMore(f, "client_certificate") {
		other, taken := r.certificates[n.text]
		switch {
		case len(n.text) > longest || !printable(n.text):
			r.fail(n, "", "client_certificate must be a name in a certificate, 1 to %d printable bytes, not %s", longest, quote(n.text))
		case taken && other == name:
			r.fail(n, "", "the client_certificate %s twice in %s", quote(n.text), f.what)
		case taken:
			r.fail(n, "", "the client_certificate %s belongs to the credential %s already", quote(n.text), other)
		default:
			r.certificates[n.text] = name
			names = append(names, n.text)
		}
	}
	return names
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return !unicode.IsPrint(c) || c == unicode.ReplacementChar }) < 0
}

// readOrganization gives "" for what is not an organization, which has been told.
func (r *credentialReader) readOrganization(f fields) string {
	name := f.text("organization", "")
	if name == "" {
		if f.value("organization") == nil {
			r.fail(f.at, "", "%s has no organization: name one, or %q for all", f.what, anyOrganization)
		}
		return ""
	}
	if name == anyOrganization || r.find(name) >= 0 {
		return name
	}
	var names []string
	for i := range r.organizations {
		names = append(names, r.organizations[i].Name)
	}
	r.fail(f.value("organization"), r.nearest(name, names), "unknown organization %s in %s", quote(name), f.what)
	return ""
}

// find gives the place of an organization, or -1.
func (r *credentialReader) find(name string) int {
	i, found := slices.BinarySearchFunc(r.organizations, name, func(o Organization, name string) int { return cmp.Compare(o.Name, name) })
	if !found {
		return -1
	}
	return i
}

// readProjects reads `projects:`. A name must be one that there can be.
func (r *credentialReader) readProjects(f fields, organization string) []string {
	words, at := r.words(f, "projects")
	for i, word := range words {
		bare, isPrefix := strings.CutSuffix(word, "*")
		if len(word) > maxName || strings.Contains(bare, "*") || !printable(word) {
			r.fail(at[i], "", "the project %s must be 1 to %d printable bytes, with one * at its end at most", quote(word), maxName)
			continue
		}
		if organization == "" {
			continue
		}
		can := r.projectsOf(organization)
		j, found := slices.BinarySearch(can.sorted, bare)
		if isPrefix {
			found = bare == "" || j < len(can.sorted) && strings.HasPrefix(can.sorted[j], bare)
		}
		if !found && !can.template {
			r.fail(at[i], r.nearest(bare, can.sorted), "%s: there is no project %s, and no template %q for others", f.what, quote(word), template)
		}
	}
	return words
}

// projectsOf gives the projects of an organization or, of "*", of all.
func (r *credentialReader) projectsOf(organization string) *projectNames {
	if p := r.projects[organization]; p != nil {
		return p
	}
	p := &projectNames{}
	r.projects[organization] = p
	of := r.organizations
	if organization != anyOrganization {
		i := r.find(organization)
		of = of[i : i+1]
	}
	for i := range of {
		p.template = p.template || of[i].Template != nil
		for _, project := range of[i].Projects {
			p.sorted = append(p.sorted, project.Name)
		}
	}
	slices.Sort(p.sorted)
	return p
}

// words gives the texts of a list that is not empty; nil if the key is absent.
func (r *credentialReader) words(f fields, key string) (texts []string, at []*node) {
	before := r.failures
	texts, at = f.words(key)
	if f.value(key) != nil && len(texts) == 0 && r.failures == before {
		r.fail(f.value(key), "", "%s lists nothing: %s could do nothing", key, f.what)
	}
	return texts, at
}

// chosen gives the texts of a list, each of which must be one of the known.
func (r *credentialReader) chosen(f fields, key, kind string, known []string) []string {
	words, at := r.words(f, key)
	for i, word := range words {
		if !slices.Contains(known, word) {
			r.fail(at[i], r.nearest(word, known), "unknown %s %s in %s: there are %s", kind, quote(word), f.what, strings.Join(known, ", "))
		}
	}
	return words
}
