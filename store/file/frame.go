package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Every file begins with a frame:
//
//	kind      8 bytes
//	version   uint16
//	length    uint32, of the body
//	body
//	checksum  uint32, of all before it
//
// All numbers are little-endian, all checksums CRC-32C. A frame stays as it is in all
// versions, so that a damaged one is not taken for a later one.

const (
	kindLog      = "wm log\r\n"
	kindSnapshot = "wm snap\n"
	kindState    = "wm dir\r\n"

	version = 1

	frameHead = 8 + 2 + 4
	frameSize = frameHead + 4 // without the body
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errFrame = errors.New("its beginning is damaged")
	errKind  = errors.New("it is a file of another kind")
)

// A versionError says that a file was written by a later version of this package.
type versionError struct{ version uint16 }

func (e *versionError) Error() string {
	return fmt.Sprintf("it has format %d and this version of watermaster knows %d: run the later version again, or one later still", e.version, version)
}

// frame gives a framed body, which is given in parts.
func frame(kind string, body ...[]byte) []byte {
	n := 0
	for _, part := range body {
		n += len(part)
	}
	b := append(make([]byte, 0, frameSize+n), kind...)
	b = binary.LittleEndian.AppendUint16(b, version)
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	for _, part := range body {
		b = append(b, part...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeFrame gives the body of the frame at the beginning of b, and what follows it.
func decodeFrame(b []byte, kind string) (body, rest []byte, err error) {
	if len(b) < frameSize {
		return nil, nil, errFrame
	}
	n := uint64(binary.LittleEndian.Uint32(b[10:]))
	if n > uint64(len(b)-frameSize) {
		return nil, nil, errFrame
	}
	end := frameHead + int(n)
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return nil, nil, errFrame
	}
	if string(b[:8]) != kind {
		return nil, nil, errKind
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != version {
		return nil, nil, &versionError{v}
	}
	return b[frameHead:end], b[end+4:], nil
}
