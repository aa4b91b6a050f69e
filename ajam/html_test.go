package ajam

import "testing"

func TestHTML(t *testing.T) {
	const frames = "Response: Success\r\nActionID: <&\"'>\r\nOutput: a\r\nOutput: b\r\n\r\nA: b\r\nno colon\r\nx: y\r\n\r\n"
	const rows = "<tr><td>Response</td><td>Success</td></tr>\n" +
		"<tr><td>ActionID</td><td>&lt;&amp;&quot;&apos;&gt;</td></tr>\n" +
		"<tr><td>Output</td><td>a</td></tr>\n<tr><td>Output-2</td><td>b</td></tr>\n<tr><td colspan=\"2\"><hr></td></tr>\r\n" +
		"<tr><td>A</td><td>b</td></tr>\n<tr><td>Opaque-data</td><td>no colon<br>\nx: y</td></tr>\n<tr><td colspan=\"2\"><hr></td></tr>\r\n"
	if got := string(appendHTML([]byte("before"), []byte(frames), plain)); got != "before"+cookieHead+rows+cookieFoot {
		t.Errorf("got %q", got)
	}
	if got := string(appendDigestHTML(nil, []byte(frames), plain)); got != digestHead+rows+digestFoot {
		t.Errorf("got %q", got)
	}
}
