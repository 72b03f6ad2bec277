package redis

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Keys of an organization. What stands between the braces alone decides in which slot of a
// cluster they are.
type keys struct{ log, snapshot, board, marker, channel string }

func keysOf(organization string, cluster bool) keys {
	tag := escape(organization)
	prefix := "wm:{" + tag + "}:"
	k := keys{log: prefix + "log", snapshot: prefix + "snap", board: prefix + "now", marker: "wm:marker", channel: prefix + "nudge"}
	if cluster {
		k.marker = "wm:marker:{" + slotTag(slot(tag)) + "}"
	}
	return k
}

// escape writes a name with no brace in it, of each name its own; readable where it can be.
func escape(name string) string {
	if name == "" {
		return "%" // Redis takes an empty tag for none
	}
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c <= ' ', c == '%', c == '{', c == '}', c == 0x7f:
			fmt.Fprintf(&b, "%%%02x", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

const slots = 16384 // of a cluster

// slot gives the slot of a hash tag: its CRC16 (XMODEM).
func slot(tag string) uint16 {
	var crc uint16
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % slots
}

// slotTag gives a tag for each slot: a number.
func slotTag(slot uint16) string { return strconv.Itoa(slotTags()[slot]) }

var slotTags = sync.OnceValue(func() *[slots]int {
	var tags [slots]int
	for found, i := 0, 1; found < slots; i++ {
		if at := slot(strconv.Itoa(i)); tags[at] == 0 {
			tags[at] = i
			found++
		}
	}
	return &tags
})
