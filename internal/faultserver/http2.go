package faultserver

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
)

// The frames of RFC 9113, section 6, that the faults are made of.
const (
	frameData      = 0x0
	frameHeaders   = 0x1
	frameRSTStream = 0x3
	frameSettings  = 0x4
	frameGoAway    = 0x7
)

const (
	flagEndHeaders = 0x4
	status200      = "\x88" // RFC 7541, appendix A, index 8
	internalError  = 2      // RFC 9113, section 7
)

// StreamReset speaks HTTP/2 without TLS, and resets the stream of each request.
func StreamReset(conn net.Conn) {
	serveHTTP2(conn, func(stream uint32) {
		writeFrame(conn, frameRSTStream, 0, stream, word(internalError))
	})
}

// GoAway speaks HTTP/2 without TLS, and at the first request says that it has
// served none.
func GoAway(conn net.Conn) {
	serveHTTP2(conn, func(uint32) {
		writeFrame(conn, frameGoAway, 0, 0, word(0)+word(internalError))
	})
}

// ConnectionError speaks HTTP/2 without TLS, and at the first request breaks a rule of the
// connection: data belong to a stream (RFC 9113, section 6.1).
func ConnectionError(conn net.Conn) {
	serveHTTP2(conn, func(uint32) { writeFrame(conn, frameData, 0, 0, "part") })
}

// BodyReset speaks HTTP/2 without TLS, and resets the stream within the body
// of each response.
func BodyReset(conn net.Conn) {
	serveHTTP2(conn, func(stream uint32) {
		writeFrame(conn, frameHeaders, flagEndHeaders, stream, status200)
		writeFrame(conn, frameData, 0, stream, "part")
		writeFrame(conn, frameRSTStream, 0, stream, word(internalError))
	})
}

// serveHTTP2 hands the stream of each request to answer.
func serveHTTP2(conn net.Conn, answer func(stream uint32)) {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	r := bufio.NewReader(conn)
	if _, err := r.Discard(len(preface)); err != nil {
		return
	}
	writeFrame(conn, frameSettings, 0, 0, "")
	for {
		var header [9]byte
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return
		}
		size := int(header[0])<<16 | int(header[1])<<8 | int(header[2])
		if _, err := r.Discard(size); err != nil {
			return
		}
		if header[3] == frameHeaders {
			answer(binary.BigEndian.Uint32(header[5:]))
		}
	}
}

func writeFrame(w io.Writer, kind, flags byte, stream uint32, payload string) {
	frame := []byte{0, byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	frame = binary.BigEndian.AppendUint32(frame, stream)
	_, _ = w.Write(append(frame, payload...))
}

func word(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }
