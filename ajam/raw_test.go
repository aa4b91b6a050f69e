package ajam

import "testing"

func TestRaw(t *testing.T) {
	const frames = "A: '\"<>&\x01\xff\r\n\r\n"
	if got := string(appendRaw([]byte("x"), []byte(frames), plain)); got != "x"+frames {
		t.Errorf("got %q", got)
	}
}
