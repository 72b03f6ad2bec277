package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// A dockerfile is what a Dockerfile says, of the few instructions that ours has.
type dockerfile []stage

// A stage is what follows a FROM.
type stage struct {
	image, name string
	lines       []instruction
}

// An instruction is a line: COPY, and what is behind it.
type instruction struct{ verb, rest string }

func readDockerfile(path string) (dockerfile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var d dockerfile
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", "")) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		if verb == "FROM" {
			image, name, _ := strings.Cut(rest, " AS ")
			d = append(d, stage{image: image, name: name})
			continue
		}
		if len(d) == 0 {
			return nil, fmt.Errorf("%s: %s before FROM", path, verb)
		}
		last := &d[len(d)-1]
		last.lines = append(last.lines, instruction{verb, rest})
	}
	return d, nil
}

// commands gives what a stage has behind a verb, line by line.
func (d dockerfile) commands(name, verb string) (rest []string) {
	for _, s := range d {
		for _, l := range s.lines {
			if s.name == name && l.verb == verb {
				rest = append(rest, l.rest)
			}
		}
	}
	return rest
}

// last gives what the image itself, the last stage, has behind a verb.
func (d dockerfile) last(verb string) string {
	all := d.commands(d[len(d)-1].name, verb)
	if len(all) != 1 {
		return ""
	}
	return all[0]
}

// words reads the JSON form of a command.
func words(text string) (list []string, err error) {
	err = json.Unmarshal([]byte(text), &list)
	return list, err
}
