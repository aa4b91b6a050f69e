package proxy

import (
	"fmt"
	"testing"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/internal/simpbx"
)

// BenchmarkAudit is the round trip of a small action through the proxy, without an
// audit log and with one that has every action in it.
func BenchmarkAudit(b *testing.B) {
	for _, general := range []string{"", "auditreads = yes\naudit = " + b.TempDir() + "/audit.log"} {
		w := newWorld(b, setup{general: general})
		w.sims["east"].Handle("MailboxCount", func(r *simpbx.Request) {
			r.Reply("Success", "Mailbox Message Count", "Mailbox", r.Get("Mailbox"), "NewMessages", "1")
		})
		for _, clients := range []int{1, 16} {
			b.Run(fmt.Sprintf("clients=%d/audit=%t", clients, general != ""), func(b *testing.B) {
				benchmarkAction(b, clients, w.addr(), "full", "full-secret")
			})
		}
	}
}

// BenchmarkAuditRecord is the record of one Originate, up to the queue of the disk.
func BenchmarkAuditRecord(b *testing.B) {
	srv := &Server{}
	var err error
	if srv.audit, err = newAuditor(config.Audit{Path: b.TempDir() + "/audit.log"}, zap.NewNop()); err != nil {
		b.Fatal(err)
	}
	if err := srv.audit.start(); err != nil {
		b.Fatal(err)
	}
	defer srv.audit.close()
	s := &Session{srv: srv, id: 1, username: "caller"}
	a := ami.NewAction("Action: Originate", "ActionID: 1", "Channel: PJSIP/100", "Context: from-crm", "Exten: 5", "Priority: 1",
		"CallerID: \"CRM\" <100>", "Variable: CRM_ID=1,SPEED=2", "Async: true", "Timeout: 30000")
	b.ReportAllocs()
	for b.Loop() {
		s.auditAction(a, nil, verdictAllowed, "write", "Success", "Originate successfully queued")
	}
}
