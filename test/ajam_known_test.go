//go:build unix

package test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// webDifferences are all answers over HTTP that the proxy makes otherwise than Asterisk, to
// a user with hardening = no.
var webDifferences = []webDifference{
	{
		why: "the cookie is of no use to scripts, and browsers send it with no request of another site's",
		proxy: func(answer string) string {
			return webCookieLine.ReplaceAllString(answer, "$0; HttpOnly; SameSite=Strict")
		},
	},
	{
		in:  regexp.MustCompile(`^challenge /`),
		why: "who logs in gets another cookie: somebody else may have given him the first",
		proxy: func(answer string) string {
			return webAnswers(answer, func(i int, a string) string {
				if i > 0 {
					a = strings.Replace(a, `"id 1"`, `"id 2"`, 1)
				}
				return a
			})
		},
	},
	{
		in:  regexp.MustCompile(`^HTTP/1.0 `),
		why: "to a client of HTTP/1.0 net/http says whether the connection stays",
		proxy: func(answer string) string {
			return webAnswers(answer, func(i int, a string) string {
				return strings.Replace(a, "Content-Type:", "Connection: "+[]string{"close", "keep-alive"}[i]+"\nContent-Type:", 1)
			})
		},
	},
	refusal(`^(NUL|smuggled lines) `, "what would make two lines of one is refused",
		"Refused: a carriage return, line feed or NUL in a parameter"),
	refusal(`^ajaxdest that is none `, "what would be no name in XML is refused",
		"Refused: ajaxdest may hold letters, digits and any of _ . : - only",
		"Refused: ajaxobjtype may hold letters, digits and any of _ . - only, and begins with a letter or _"),
	{
		in:  regexp.MustCompile(`^(ActionID in Latin-1|ActionID with control characters|unknown action) /a?mxml$`),
		why: "XML holds no control characters and nothing but UTF-8",
		proxy: func(answer string) string {
			var b strings.Builder
			for _, r := range answer { // what is none is U+FFFD by itself
				if r < ' ' && r != '\n' && r != '\t' && r != '\r' {
					r = utf8.RuneError
				}
				b.WriteRune(r)
			}
			return b.String()
		},
	},
	{
		in:  regexp.MustCompile(`^other methods `),
		why: "methods have a case",
		proxy: func(answer string) string {
			return webAnswers(answer, func(i int, a string) string {
				if i == 5 {
					return webPage(501, "Not Implemented", "Attempt to use unimplemented / unsupported method")
				}
				return a
			})
		},
	},
	{
		in:  regexp.MustCompile(`^a bad length |^another coding `),
		why: "net/http answers before us, with no page",
		proxy: func(answer string) string {
			return webAnswers(answer, func(_ int, a string) string {
				status := a[:3]
				return plainPage(status, map[string]string{"400": "400 Bad Request", "501": "Unsupported transfer encoding"}[status])
			})
		},
	},
	instead(`^POST in chunks `, "a server before us may see another end of a body in chunks", func(i int, a string, _ []string) string {
		if i == 1 {
			return strings.Replace(a, "Content-Type:", "Connection: close\nContent-Type:", 1)
		}
		return a
	}),
	instead(`^HTTP of nobody `, "net/http takes no requests without a version or Host, nor control characters", func(i int, _ string, _ []string) string {
		return plainPage("400", []string{"400 Bad Request: missing required Host header", "400 Bad Request", "400 Bad Request"}[i])
	}),
	instead(`^half an escape `, "what is no escape stands for itself", func(_ int, a string, _ []string) string {
		return strings.Replace(a, "a\x04b", "a%4zb", 1)
	}),
	askedAgain(`^Digest: denied`, "who asks for users from where they may not come from is told nothing", 1, false),
	askedAgain(`^Digest: no secret has a name `, "a user without a secret cannot log in", 1, false),
	askedAgain(`^Digest: (an open quote|two users) `, "a header that means two things, or nothing, is refused", 1, false),
	askedAgain(`^Digest: (nonce of its own|nonce that is none) `, "a nonce is one of ours, and the client need not ask its user again", 1, true),
	askedAgain(`^Digest: nc of zero `, "each request is good once, so the counter begins with one", 1, true),
	askedAgain(`^Digest: (played again|no qop, twice) `, "each request is good once", 2, true),
	instead(`^Digest: uri (of another action|without the query) `, "a digest is for the URI of its request", func(i int, a string, _ []string) string {
		if i == 1 {
			return webPage(400, "Bad Request", "The digest is for another URI than that of the request, which somebody on the way may have changed.")
		}
		return a
	}),
	instead(`^Digest: (SHA-256|more blanks) `, "what RFC 7616 says is understood", func(i int, a string, before []string) string {
		if i == 2 {
			return before[1]
		}
		return a
	}),
	instead(`^Digest: one session only `, "allowmultiplelogin counts", func(i int, a string, _ []string) string {
		if i == 4 {
			return strings.Replace(webPage(403, "Permission denied", "Permission denied"), "Content-Type:", "Connection: close\nContent-Type:", 1)
		}
		return a
	}),
	instead(`^Digest: events are off `, "events are kept from the first WaitEvent on", withoutSaid),
	instead(`^Digest: filters `, "filters count", withoutSaid),
	{
		why: "a challenge offers SHA-256 too",
		proxy: func(answer string) string {
			return webMD5Line.ReplaceAllString(answer, "${0}${1}SHA-256${2}\n")
		},
	},
	{
		why: "no browser guesses another type",
		proxy: func(answer string) string {
			return webServerLine.ReplaceAllString(answer, "${0}X-Content-Type-Options: nosniff\n")
		},
	},
}

// refusal is the difference that all requests but the first, a login, are refused, each
// with its text, of which the last is that of all further ones.
func refusal(in, why string, texts ...string) webDifference {
	return webDifference{
		in: regexp.MustCompile(in), why: why,
		proxy: func(answer string) string {
			return webAnswers(answer, func(i int, a string) string {
				if i == 0 {
					return a
				}
				return webPage(400, "Bad Request", texts[min(i, len(texts))-1])
			})
		},
	}
}

// instead is the difference that some requests are answered otherwise. before are our
// answers to those before.
func instead(in, why string, change func(i int, answer string, before []string) string) webDifference {
	return webDifference{
		in: regexp.MustCompile(in), why: why,
		proxy: func(all string) string {
			var before []string
			return webAnswers(all, func(i int, a string) string {
				before = append(before, change(i, a, before))
				return before[i]
			})
		},
	}
}

// askedAgain is the difference that a request gets the second challenge.
func askedAgain(in, why string, request int, stale bool) webDifference {
	return instead(in, why, func(i int, a string, before []string) string {
		if i != request {
			return a
		}
		a = strings.ReplaceAll(before[0], `"nonce 1"`, `"nonce 2"`)
		if stale {
			a = webMD5Line.ReplaceAllString(a, "${1}MD5${2}, stale=true\n")
		}
		return a
	})
}

// withoutSaid leaves out the event that playings raise, in every format.
func withoutSaid(_ int, answer string, _ []string) string {
	return webSaid.ReplaceAllString(answer, "")
}

// webAnswers changes each answer of a playing.
func webAnswers(all string, change func(i int, answer string) string) string {
	starts := webStart.FindAllStringIndex(all, -1)
	var b strings.Builder
	for i, at := range starts {
		end := len(all)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		b.WriteString(change(i, all[at[0]:end]))
	}
	return b.String()
}

// webPage is an error page, as a playing shows it.
func webPage(status int, title, text string) string {
	return fmt.Sprintf("%d\nCache-Control: no-cache, no-store\nContent-Type: text/html\nServer: {server}\n\n"+
		"<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\r\n<html><head>\r\n<title>%d %s</title>\r\n</head><body>\r\n"+
		"<h1>%s</h1>\r\n<p>%s</p>\r\n<hr />\r\n<address>{server}</address>\r\n</body></html>\r\n\n", status, status, title, title, text)
}

// plainPage is what net/http answers by itself.
func plainPage(status, text string) string {
	return status + "\nConnection: close\nContent-Type: text/plain; charset=utf-8\n\n" + text + "\n"
}

var (
	webStart      = regexp.MustCompile(`(?m)^\d{3}$`)
	webCookieLine = regexp.MustCompile(`(?m)^Set-Cookie: .*$`)
	webServerLine = regexp.MustCompile(`(?m)^Server: .*\n(?:Set-Cookie: .*\n)?(?:Www-Authenticate: .*\n)*`)
	webMD5Line    = regexp.MustCompile(`(?m)^(Www-Authenticate: Digest algorithm=)MD5(.*)\n`)
	webSaid       = regexp.MustCompile(`(?s)Event: UserEvent\r.*?\r\n\r\n|<tr><td>Event</td><td>UserEvent<.*?<hr></td></tr>\r\n|<response [^>]*><generic event='UserEvent'.*?</response>\n`)
)

// notXML says what is wrong with the XML in the answers of a playing, if something is.
func notXML(answers string) string {
	for part := range strings.SplitSeq(answers, "<ajax-response>") {
		text, _, found := strings.Cut(part, "</ajax-response>")
		if !found {
			continue
		}
		text = "<ajax-response>" + text + "</ajax-response>"
		d := xml.NewDecoder(bytes.NewReader([]byte(text)))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err.Error() + ": " + text
			}
			if e, ok := token.(xml.StartElement); ok {
				seen := make(map[string]bool)
				for _, a := range e.Attr {
					if seen[a.Name.Local] {
						return "two attributes " + a.Name.Local + ": " + text
					}
					seen[a.Name.Local] = true
				}
			}
		}
	}
	return ""
}
