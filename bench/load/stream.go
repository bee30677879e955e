package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	deltaPath = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
	sotwPath  = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"

	// Envoy's default for streams and connections is larger than any response here.
	window = 256 << 20
	// Of a client that will stop reading: less than one response.
	stalledWindow = 2 << 10
	// HTTP/2's initial window and largest frame.
	defaultWindow = 65_535
	maxFrame      = 16 << 10
	streamID      = 1
)

// stream is one ADS stream on a connection of its own, as an Envoy has it. One goroutine reads it and answers what it
// reads at once; nothing else writes to it.
type stream struct {
	fleet   *fleet
	number  int
	stalled bool

	conn    net.Conn
	framer  *http2.Framer
	out     bytes.Buffer
	partial []byte
	answer  []byte
	// The step whose answer is awaited.
	step int
	// Received and not yet given back to the server as window.
	unreturned uint32
	// To be sent when the server allows; empty but after very long requests.
	queued []byte
	// What the server allows, on the connection and on the stream, and its initial window.
	connectionMay, streamMay, serverWindow int
}

// open connects and asks for the first type.
func (s *stream) open() error {
	conn, err := net.Dial("tcp", s.fleet.address)
	if err != nil {
		return err
	}
	s.conn = conn
	s.connectionMay, s.streamMay, s.serverWindow = defaultWindow, defaultWindow, defaultWindow
	s.framer = http2.NewFramer(&s.out, conn)
	s.framer.SetReuseFrames()
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	s.out.WriteString(http2.ClientPreface)
	initial := uint32(window)
	if s.stalled {
		initial = stalledWindow
	}
	if err := s.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: initial},
	); err != nil {
		return err
	}
	if err := s.framer.WriteWindowUpdate(0, window); err != nil {
		return err
	}
	if err := s.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: streamID, BlockFragment: s.fleet.headers, EndHeaders: true,
	}); err != nil {
		return err
	}
	asked := s.fleet.request(0, s.number).appendTo(s.answer[:0])
	if s.fleet.held != nil {
		// An Envoy that reconnects says all at once.
		for s.step = 1; s.step < len(s.fleet.steps); s.step++ {
			asked = s.fleet.request(s.step, s.number).appendTo(asked)
		}
		s.step = len(s.fleet.steps) - 1
	}
	if err := s.send(asked); err != nil {
		return err
	}
	return s.flush()
}

// send queues messages and writes what the server allows of them.
func (s *stream) send(messages []byte) error {
	s.answer = messages
	s.queued = append(s.queued, messages...)
	return s.drain()
}

func (s *stream) drain() error {
	for {
		size := min(len(s.queued), maxFrame, s.connectionMay, s.streamMay)
		if size <= 0 {
			return nil
		}
		if err := s.framer.WriteData(streamID, false, s.queued[:size]); err != nil {
			return err
		}
		s.connectionMay -= size
		s.streamMay -= size
		s.queued = append(s.queued[:0], s.queued[size:]...)
	}
}

// allowed takes what the server says of its windows.
func (s *stream) allowed(frame *http2.WindowUpdateFrame) error {
	if frame.StreamID == 0 {
		s.connectionMay += int(frame.Increment)
	} else {
		s.streamMay += int(frame.Increment)
	}
	return s.drain()
}

func (s *stream) settings(frame *http2.SettingsFrame) error {
	if frame.IsAck() {
		return nil
	}
	if initial, given := frame.Value(http2.SettingInitialWindowSize); given {
		s.streamMay += int(initial) - s.serverWindow
		s.serverWindow = int(initial)
	}
	if err := s.framer.WriteSettingsAck(); err != nil {
		return err
	}
	return s.drain()
}

func (s *stream) flush() error {
	if s.out.Len() == 0 {
		return nil
	}
	_, err := s.conn.Write(s.out.Bytes())
	s.out.Reset()
	return err
}

// run reads until the connection ends; the error says how. A stream told to stall returns nil when it stops reading.
func (s *stream) run() error {
	for {
		frame, err := s.framer.ReadFrame()
		if err != nil {
			return err
		}
		switch frame := frame.(type) {
		case *http2.DataFrame:
			if err := s.received(frame.Data()); err != nil {
				return err
			}
			if s.stalled && s.step == len(s.fleet.steps) {
				return s.flush()
			}
		case *http2.MetaHeadersFrame:
			if frame.StreamEnded() {
				return fmt.Errorf("the server ended the stream: %v", frame.Fields)
			}
		case *http2.SettingsFrame:
			if err := s.settings(frame); err != nil {
				return err
			}
		case *http2.WindowUpdateFrame:
			if err := s.allowed(frame); err != nil {
				return err
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				if err := s.framer.WritePing(true, frame.Data); err != nil {
					return err
				}
			}
		case *http2.RSTStreamFrame:
			return fmt.Errorf("the server reset the stream: %v", frame.ErrCode)
		case *http2.GoAwayFrame:
			return fmt.Errorf("the server went away: %v %s", frame.ErrCode, frame.DebugData())
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

// received takes a piece of the stream of gRPC messages.
func (s *stream) received(data []byte) error {
	s.unreturned += uint32(len(data))
	if s.stalled || s.unreturned > window/2 {
		for _, id := range []uint32{0, streamID} {
			if err := s.framer.WriteWindowUpdate(id, s.unreturned); err != nil {
				return err
			}
		}
		s.unreturned = 0
	}
	whole := data
	if len(s.partial) > 0 {
		s.partial = append(s.partial, data...)
		whole = s.partial
	}
	for len(whole) >= 5 {
		length := int(binary.BigEndian.Uint32(whole[1:5]))
		if whole[0] != 0 {
			return fmt.Errorf("compressed message")
		}
		if len(whole) < 5+length {
			break
		}
		if err := s.answerTo(whole[5 : 5+length]); err != nil {
			return err
		}
		whole = whole[5+length:]
	}
	if len(whole) == 0 {
		s.partial = s.partial[:0]
	} else {
		s.partial = append(s.partial[:0], whole...)
	}
	return nil
}

// answerTo acknowledges a response and, where it answers the latest request, asks for the next type.
func (s *stream) answerTo(message []byte) error {
	got, err := parseResponse(message)
	if err != nil {
		return err
	}
	at := s.fleet.stepOf(got.typeURL)
	if at < 0 {
		return fmt.Errorf("sent %s, which was not asked for", got.typeURL)
	}
	data := s.fleet.acknowledgement(at, got).appendTo(s.answer[:0])
	awaited := at == s.step
	if awaited {
		s.step++
		if s.step < len(s.fleet.steps) {
			data = s.fleet.request(s.step, s.number).appendTo(data)
		}
	}
	if err := s.send(data); err != nil {
		return err
	}
	// To the kernel before it is counted: the time that counts is the one after the write.
	if err := s.flush(); err != nil {
		return err
	}
	return s.fleet.acknowledged(s, at, got, message, awaited && s.step == len(s.fleet.steps))
}

func (s *stream) close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

func headers(address, path string) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", address},
		{"te", "trailers"}, {"content-type", "application/grpc"},
	} {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			panic(err) // A bytes.Buffer takes all.
		}
	}
	return block.Bytes()
}
