package ajam

import (
	"bytes"
	"strconv"
)

// The page around an answer in HTML, as Asterisk has it: with cookies (manager.c:
// generic_http_callback), with Digest (auth_http_callback).
const (
	cookieHead = `<title>Asterisk&trade; Manager Interface</title><body bgcolor="#ffffff"><table align=center bgcolor="#f1f1f1" width="500">` + "\r\n" +
		`<tr><td colspan="2" bgcolor="#f1f1ff"><h1>Manager Tester</h1></td></tr>` + "\r\n" +
		`<tr><td colspan="2" bgcolor="#f1f1ff"><form action="manager" method="post">
	Action: <select name="action">
		<option value="">-----&gt;</option>
		<option value="login">login</option>
		<option value="command">Command</option>
		<option value="waitevent">waitevent</option>
		<option value="listcommands">listcommands</option>
	</select>
	or <input name="action"><br/>
	CLI Command <input name="command"><br>
	user <input name="username"> pass <input type="password" name="secret"><br>
	<input type="submit">
</form>
</td></tr>` + "\r\n"
	cookieFoot = "</table></body>\r\n"

	digestHead = `<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">` + "\r\n" +
		"<html><head>\r\n<title>Asterisk&trade; Manager Interface</title>\r\n" +
		`</head><body style="background-color: #ffffff;">` + "\r\n" +
		`<form method="POST">` + "\r\n" +
		`<table align="center" style="background-color: #f1f1f1;" width="500">` + "\r\n" +
		`<tr><th colspan="2" style="background-color: #f1f1ff;"><h1>Manager Tester</h1></th></tr>` + "\r\n" +
		`<tr><th colspan="2" style="background-color: #f1f1ff;">Action: <input name="action" /> Cmd: <input name="command" /><br>` +
		`<input type="submit" value="Send request" /></th></tr>` + "\r\n"
	digestFoot = "</table></form></body></html>\r\n"
)

// appendHTML appends the page that shows an answer, for /manager.
func appendHTML(dst, frames []byte, _ *form) []byte {
	dst = append(dst, cookieHead...)
	dst = appendRows(dst, frames)
	return append(dst, cookieFoot...)
}

// appendDigestHTML does so for /amanager.
func appendDigestHTML(dst, frames []byte, _ *form) []byte {
	dst = append(dst, digestHead...)
	dst = appendRows(dst, frames)
	return append(dst, digestFoot...)
}

// appendRows appends a row for each header. The second of a name gets -2 behind it,
// and so on.
func appendRows(dst, frames []byte) []byte {
	seen := make(map[string]int)
	for p := range objects(frames) {
		if p.name == nil {
			dst = append(dst, `<tr><td colspan="2"><hr></td></tr>`+"\r\n"...)
			clear(seen)
			continue
		}
		dst = append(dst, "<tr><td>"...)
		dst = appendEscaped(dst, p.name)
		seen[string(p.name)]++
		if n := seen[string(p.name)]; n > 1 {
			dst = append(dst, '-')
			dst = strconv.AppendInt(dst, int64(n), 10)
		}
		dst = append(dst, "</td><td>"...)
		for i, line := range bytes.Split(p.value, []byte("\n")) {
			if i > 0 {
				dst = append(dst, "<br>\n"...)
			}
			dst = appendEscaped(dst, line)
		}
		dst = append(dst, "</td></tr>\n"...)
	}
	return dst
}

// appendEscaped appends a text with what HTML and XML would take for their own
// escaped. Other bytes stay.
func appendEscaped(dst, text []byte) []byte {
	for _, c := range text {
		if e := entity(c); e != "" {
			dst = append(dst, e...)
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

func entity(c byte) string {
	switch c {
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '&':
		return "&amp;"
	case '"':
		return "&quot;"
	case '\'':
		return "&apos;"
	}
	return ""
}
