package proxy

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/internal/audit"
)

// This file is what stands in the audit log: who came, and what they did. What of
// an action is shown is in audit_headers.go.

// auditor writes the audit log. A nil one writes nothing.
type auditor struct {
	log     *audit.Log
	records *zap.Logger // one line of JSON each
}

// newAuditor prepares the audit log, nil if there is to be none.
func newAuditor(o config.Audit, log *zap.Logger) (*auditor, error) {
	if o.Path == "" && !o.Stderr {
		return nil, nil
	}
	l, err := audit.New(audit.Options{
		Path: o.Path, Writer: os.Stderr, Size: o.Size, Files: o.Files,
		Age: time.Duration(o.Days) * 24 * time.Hour, Lost: auditLost,
		Trouble: func(err error) {
			if err != nil {
				log.Error("audit log not written: what happens meanwhile is lost; make room, or put right what the error says", zap.Error(err))
			} else {
				log.Info("audit log is written again")
			}
		},
	})
	if err != nil {
		return nil, err
	}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey: "time", MessageKey: "event", LineEnding: "\n",
		EncodeTime: zapcore.TimeEncoderOfLayout(auditTime), EncodeDuration: zapcore.SecondsDurationEncoder,
	}), l, zapcore.InfoLevel)
	return &auditor{log: l, records: zap.New(core)}, nil
}

// auditTime is RFC 3339, in local time.
const auditTime = "2006-01-02T15:04:05.000000Z07:00"

// auditLost is the line in the place of lines that were lost.
func auditLost(n int) []byte {
	return []byte(`{"time":"` + time.Now().Format(auditTime) +
		`","event":"lost","count":` + strconv.Itoa(n) + "}\n")
}

func (d *auditor) start() error {
	if d == nil {
		return nil
	}
	return d.log.Start()
}

func (d *auditor) close() {
	if d != nil {
		d.log.Close()
	}
}

// Verdicts of records.
const (
	verdictAllowed = "allowed"
	verdictRefused = "refused"
)

// auditWho are the fields that every record of a session begins with.
func (s *Session) auditWho(user string, more ...zap.Field) []zap.Field {
	fields := make([]zap.Field, 0, 16)
	fields = append(fields, zap.Uint64("session", s.id), zap.Stringer("address", s.remote), zap.String("user", shorten(user)))
	return append(fields, more...)
}

// auditLogin records the fate of a login.
func (s *Session) auditLogin(a *ami.Action, f fate) {
	if s.srv.audit == nil {
		return
	}
	verdict, user := verdictAllowed, s.username
	if f != fateAccepted {
		verdict, user = verdictRefused, a.Get("Username")
	}
	s.srv.audit.records.Info("login", s.auditWho(user, zap.String("verdict", verdict), zap.String("rule", string(f)))...)
}

// auditEnd records the end of a session that was logged in.
func (s *Session) auditEnd() {
	if s.srv.audit != nil && s.user != nil {
		s.srv.audit.records.Info("end", s.auditWho(s.username, zap.String("reason", string(*s.reason.Load())))...)
	}
}

// auditOmitted records that n refusals are not recorded.
func (s *Session) auditOmitted(n uint64) {
	if s.srv.audit != nil {
		s.srv.audit.records.Info("omitted", s.auditWho(s.username, zap.Uint64("count", n))...)
	}
}

// audits reports whether an action has its place in the audit log: one that
// changes something, or all.
func (s *Session) audits(a *ami.Action) bool {
	return s.srv.audit != nil && (s.srv.general().Audit.Reads || changes(a))
}

// auditDenied records an action that was refused for want of rights. p is the PBX
// that it was for, nil if that is not certain.
func (s *Session) auditDenied(a *ami.Action, p *pbx, v acl.Verdict) {
	if s.srv.audit != nil {
		s.auditAction(a, p, verdictRefused, v.Reason, "Error", v.Refusal)
	}
}

// auditRefused records an action that was not sent, for another reason. p is the
// PBX that it was for, nil if there is none.
func (s *Session) auditRefused(a *ami.Action, p *pbx, message string) {
	if s.audits(a) {
		s.auditAction(a, p, verdictRefused, "", "Error", message)
	}
}

// turnAway refuses an action for another reason than want of rights. p is as for
// auditRefused.
func (s *Session) turnAway(a *ami.Action, p *pbx, message string) bool {
	s.auditRefused(a, p, message)
	return s.refuse(a, message)
}

// auditOwn records an action that the proxy has answered itself.
func (s *Session) auditOwn(a *ami.Action, answer []byte) {
	if s.audits(a) {
		response, message := result(answer)
		s.auditAction(a, nil, verdictAllowed, "", response, message)
	}
}

// audited lets done record the action as well, with what the PBX answered. What
// was hidden from it for a fence counts as refused.
func (s *Session) audited(p *pbx, a *ami.Action, v acl.Verdict, hidden []hiding, done func(backend.Answer)) func(backend.Answer) {
	if !s.audits(a) {
		return done
	}
	start, verdict := time.Now(), verdictAllowed
	if len(hidden) > 0 {
		verdict, v.Reason = verdictRefused, "tenant: it names what is none of the user's tenants'"
	}
	return func(answer backend.Answer) {
		response, message := result(answer.Bytes)
		if answer.Err != nil {
			response, message = "Error", s.refusalOf(p, answer.Err)
		}
		for _, h := range hidden {
			message = strings.ReplaceAll(message, h.name, h.of)
		}
		s.auditAction(a, p, verdict, v.Reason, response, message,
			zap.Duration("latency", time.Since(start)), zap.String("upstreamid", answer.ID))
		done(answer) // after that, so that records are in the order in which the client sees things happen
	}
}

// auditAction records an action. p is the PBX, nil if it went to none.
func (s *Session) auditAction(a *ami.Action, p *pbx, verdict, rule, response, message string, more ...zap.Field) {
	fields := s.auditWho(s.username)
	if p != nil {
		fields = append(fields, zap.String("pbx", p.Name()))
	}
	fields = append(fields, zap.String("action", auditName(a)), zap.Object("headers", auditHeaders{a}), zap.String("verdict", verdict))
	if rule != "" {
		fields = append(fields, zap.String("rule", shorten(ruleOf(rule))))
	}
	fields = append(fields, zap.String("response", response), zap.String("message", shorten(message)))
	if id := a.ID(); id != "" {
		fields = append(fields, zap.String("id", shorten(id)))
	}
	s.srv.audit.records.Info("action", append(fields, more...)...)
}

// ruleOf is the reason for a verdict without the value that it quotes: what may be
// shown of that is among the headers.
func ruleOf(reason string) string {
	for _, quote := range []string{`: it is "`, `: one is "`} {
		reason, _, _ = strings.Cut(reason, quote)
	}
	return reason
}

// auditName is the name of an action as Asterisk spells it, if it is known.
func auditName(a *ami.Action) string {
	if info, ok := ami.LookupAction(a.Name()); ok {
		return info.Name
	}
	return shorten(a.Name())
}

// result is what an answer says: the words of its first frame.
func result(answer []byte) (response, message string) {
	f := firstFrame(answer)
	text, _ := f.Get("Message")
	return string(f.Response()), string(bytes.TrimRight(text, "\r\n"))
}
