package server

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// A wire is a connection whose frames are written by hand: what no client library would send,
// or with less effort than one takes. It is written by one goroutine; another reads and
// counts what comes.
type wire struct {
	conn   net.Conn
	framer *http2.Framer // writes into out
	out    bytes.Buffer
	path   string
	header []byte // of a call, without state: the same bytes each time
	next   uint32 // stream
	sent   int    // frames of headers

	answers atomic.Int64  // streams that have ended with trailers
	resets  atomic.Int64  // streams that the server has reset
	reset   atomic.Uint32 // the code of the latest
	acks    atomic.Int64  // of settings and pings
	away    atomic.Pointer[http2.GoAwayFrame]
	closed  chan struct{} // the connection has ended
}

const (
	acquireMethod = pb.LimiterService_Acquire_FullMethodName
	watchMethod   = pb.MonitorService_WatchHeadroom_FullMethodName
)

// newWire begins a connection for calls of a method.
func newWire(conn net.Conn, path string) *wire {
	w := &wire{conn: conn, path: path, next: 1, closed: make(chan struct{})}
	w.framer = http2.NewFramer(&w.out, nil)
	w.framer.AllowIllegalWrites = true
	w.header = headerOf(path)
	w.out.WriteString(http2.ClientPreface)
	_ = w.framer.WriteSettings()
	return w
}

// headerOf encodes the header of a call without indexing, so that it holds for every call.
func headerOf(path string, more ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	e.SetMaxDynamicTableSize(0)
	fields := append([]string{":method", "POST", ":scheme", "http", ":path", path, ":authority", "x",
		"content-type", "application/grpc", "te", "trailers"}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return b.Bytes()
}

// read takes what comes until the connection ends.
func (w *wire) read() {
	defer close(w.closed)
	in := http2.NewFramer(io.Discard, w.conn)
	in.SetMaxReadFrameSize(1 << 20)
	for {
		f, err := in.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			if f.StreamEnded() {
				w.answers.Add(1)
			}
		case *http2.RSTStreamFrame:
			w.reset.Store(uint32(f.ErrCode))
			w.resets.Add(1)
		case *http2.SettingsFrame:
			if f.IsAck() {
				w.acks.Add(1)
			}
		case *http2.PingFrame:
			if f.IsAck() {
				w.acks.Add(1)
				break
			}
			var answer bytes.Buffer // whole, so that it may come between what is flushed
			_ = http2.NewFramer(&answer, nil).WritePing(true, f.Data)
			_, _ = w.conn.Write(answer.Bytes())
		case *http2.GoAwayFrame:
			w.away.CompareAndSwap(nil, f)
		}
	}
}

// call adds the frames of a call, and gives its stream.
func (w *wire) call(request proto.Message) uint32 {
	id := w.open(w.header, true)
	b := make([]byte, 5, 128)
	b, _ = proto.MarshalOptions{}.MarshalAppend(b, request)
	binary.BigEndian.PutUint32(b[1:5], uint32(len(b)-5))
	_ = w.framer.WriteData(id, true, b)
	return id
}

// open adds the frame that begins a stream.
func (w *wire) open(header []byte, end bool) uint32 {
	id := w.next
	w.next += 2
	_ = w.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: header, EndHeaders: end})
	return id
}

// keepOpen gives the server all the windows that it may want, so that nothing has to be given
// back while it is read.
func (w *wire) keepOpen() {
	_ = w.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	_ = w.framer.WriteWindowUpdate(0, 1<<31-1-65_535)
}

// flush sends what was added. A peer that does not read is an error in time.
func (w *wire) flush() error {
	defer w.out.Reset()
	if err := w.conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	_, err := w.conn.Write(w.out.Bytes())
	return err
}

// isClosed says whether the connection has ended.
func (w *wire) isClosed() bool {
	select {
	case <-w.closed:
		return true
	default:
		return false
	}
}
