package simulate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watermaster-project/watermaster/limiter/simulate/trace"
)

const samples = "../../limiter/simulate/trace/testdata/"

// write puts a trace into a file.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trace.csv")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const ownHeader = "t_ms,project,class,input_tokens,output_tokens\n"

const (
	anyProject  = "\n"
	twoProjects = "    projects: {search: {}, billing: {}}\n"
)

// cast reads all rows of a trace as they are replayed.
func cast(t testing.TB, path, text string) ([]trace.Row, error) {
	t.Helper()
	cfg := parse(t, text)
	f, err := newFeed(path, trace.Options{}, 1, cfg, &cfg.Organizations[0])
	if err != nil {
		return nil, err
	}
	var all []trace.Row
	for row, err := range f.rows() {
		if err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, nil
}

func TestFeedFillsIn(t *testing.T) {
	const pool = "provider: openai"
	classes := "priority_classes: {urgent: {weight: 9}, standard: {weight: 2}, idle: {weight: 1}}\n"
	for _, c := range []struct {
		name, path, text string
		projects         string // of the first rows
		classes          string // that occur
	}{
		{"clients are projects", samples + "servegen_image.csv", onePool(pool, "tokens: 9/min") + anyProject, "7 31", "interactive standard batch"},
		{"clients are spread over what is configured", samples + "servegen_image.csv", onePool(pool, "tokens: 9/min") + twoProjects, "", "interactive standard batch"},
		{"rows of nobody are spread", samples + "azure_2023_conv.csv", onePool(pool, "tokens: 9/min") + twoProjects, "", "interactive standard batch"},
		{"shares go to the classes there are", samples + "azure_2023_conv.csv", onePool(pool, "tokens: 9/min") + classes, "", "urgent standard idle"},
		{"your own names are kept", write(t, ownHeader+"0,search,batch,1,1\n1,other,standard,1,1\n"), onePool(pool, "tokens: 9/min"), "search other", "standard batch"},
	} {
		all, err := cast(t, c.path, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for i, want := range strings.Fields(c.projects) {
			if got := all[i].Client; got != want {
				t.Errorf("%s: row %d is of %q, want %q", c.name, i, got, want)
			}
		}
		of := map[string]map[string]int{"project": {}, "class": {}}
		for _, row := range all {
			of["project"][row.Client]++
			of["class"][row.Class]++
		}
		if len(of["class"]) != len(strings.Fields(c.classes)) {
			t.Errorf("%s: classes %v, want %s", c.name, of["class"], c.classes)
		}
		for _, class := range strings.Fields(c.classes) {
			if of["class"][class] == 0 {
				t.Errorf("%s: no row is %s", c.name, class)
			}
		}
		if strings.Contains(c.text, twoProjects) && (of["project"]["search"] == 0 || of["project"]["billing"] == 0 || len(of["project"]) != 2) {
			t.Errorf("%s: projects %v, want rows of both", c.name, of["project"])
		}
	}
}

func TestFeedRefusesUnknownNames(t *testing.T) {
	for _, c := range []struct{ trace, text, want string }{
		{ownHeader + "0,serach,batch,1,1\n", onePool("margin: 0%", "tokens: 9/min") + twoProjects, `project "serach", which is not configured: there are billing, search`},
		{ownHeader + "0,search,bulk,1,1\n", onePool("margin: 0%", "tokens: 9/min") + twoProjects, `unknown priority class "bulk": there are interactive, standard, batch`},
	} {
		if _, err := cast(t, write(t, c.trace), c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one that says %s", err, c.want)
		}
	}
}
