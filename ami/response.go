package ami

import (
	"slices"
	"strings"
)

// AppendHeader appends one header line. CR, LF and NUL are left out of name
// and value: whatever a value holds, it stays one header.
func AppendHeader(dst []byte, name, value string) []byte {
	dst = slices.Grow(dst, len(name)+len(value)+len(": \r\n\r\n"))
	dst = appendClean(dst, name)
	dst = append(dst, ": "...)
	dst = appendClean(dst, value)
	return append(dst, "\r\n"...)
}

// AppendEnd appends the empty line that ends a frame.
func AppendEnd(dst []byte) []byte { return append(dst, "\r\n"...) }

// AppendResponse appends a whole response in the order of Asterisk's builder
// (manager.c: astman_send_response_full): Response, ActionID if there is one,
// Message if there is one, empty line.
func AppendResponse(dst []byte, word, id, message string) []byte {
	dst = AppendResponseStart(dst, word, id)
	if message != "" {
		dst = AppendHeader(dst, "Message", message)
	}
	return AppendEnd(dst)
}

// AppendResponseStart appends Response and, if there is one, ActionID. The id
// comes back byte for byte, as the client wrote it: a CR inside it is data,
// LF and NUL cannot be in what an [ActionReader] read and are left out.
func AppendResponseStart(dst []byte, word, id string) []byte {
	dst = AppendHeader(slices.Grow(dst, responseRoom+len(id)), "Response", word)
	if id == "" {
		return dst
	}
	dst = append(dst, "ActionID: "...)
	for i := range len(id) {
		if id[i] != '\n' && id[i] != 0 {
			dst = append(dst, id[i])
		}
	}
	return append(dst, "\r\n"...)
}

// responseRoom is for a usual response.
const responseRoom = 128

func appendClean(dst []byte, s string) []byte {
	if strings.IndexByte(s, '\r') < 0 && strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, 0) < 0 {
		return append(dst, s...)
	}
	for i := range len(s) {
		if c := s[i]; c != '\r' && c != '\n' && c != 0 {
			dst = append(dst, c)
		}
	}
	return dst
}
