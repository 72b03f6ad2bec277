package redis

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/watermaster-project/watermaster/store"
)

// A message is what processes tell each other about an organization, on its channel:
//
//	SENDER nudge INCARNATION …   these have something to read
//	SENDER joined                everybody has
//	SENDER broken                likewise: the log is not what it was
//	SENDER missing MAJOR MINOR   the log is gone; so far had I come, or 0 0
//	SENDER created               there is one again
//
// numbers are in hexadecimal; the sender is a process.
type message struct {
	sender       uint64
	kind         string
	incarnations []uint64       // nudge
	at           store.Position // missing: the place alone
}

const (
	nudgeMessage   = "nudge"
	joinedMessage  = "joined"
	brokenMessage  = "broken"
	missingMessage = "missing"
	createdMessage = "created"
)

func (m *message) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%x %s", m.sender, m.kind)
	for _, incarnation := range m.incarnations {
		fmt.Fprintf(&b, " %x", incarnation)
	}
	if m.kind == missingMessage {
		fmt.Fprintf(&b, " %x %x", m.at.Major, m.at.Minor)
	}
	return b.String()
}

// parseMessage reads one; what is unknown comes from another version, and is none.
func parseMessage(text string) (m message, ok bool) {
	words := strings.Split(text, " ")
	if len(words) < 2 {
		return m, false
	}
	numbers := make([]uint64, 0, len(words)-1)
	for i, word := range words {
		if i == 1 {
			continue
		}
		n, err := strconv.ParseUint(word, 16, 64)
		if err != nil {
			return m, false
		}
		numbers = append(numbers, n)
	}
	m.sender, m.kind = numbers[0], words[1]
	switch m.kind {
	case nudgeMessage:
		m.incarnations = numbers[1:]
	case missingMessage:
		if len(numbers) != 3 {
			return m, false
		}
		m.at = store.Position{Major: numbers[1], Minor: numbers[2]}
	case joinedMessage, brokenMessage, createdMessage:
	default:
		return m, false
	}
	return m, true
}
