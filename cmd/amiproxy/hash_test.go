package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/acl"
)

// hashOf runs amiproxy hash with an input.
func hashOf(input string, args ...string) (code int, out, complaint string) {
	var stdout, stderr bytes.Buffer
	cmd := rootCommand(&stdout, &stderr)
	cmd.SetArgs(append([]string{"hash"}, args...))
	cmd.SetIn(strings.NewReader(input))
	code = execute(context.Background(), cmd, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestHash(t *testing.T) {
	for _, test := range []struct {
		input, secret, kind string
		args                []string
	}{
		{"s3cret with blanks \n", "s3cret with blanks ", "$argon2id$", nil},
		{"s3cret\r\nmore", "s3cret", "$2a$", []string{"--bcrypt"}},
	} {
		code, out, complaint := hashOf(test.input, test.args...)
		hash, ended := strings.CutSuffix(out, "\n")
		if code != exitDone || complaint != "" || !ended || !strings.HasPrefix(hash, test.kind) {
			t.Errorf("%q: %d, %q, %q", test.input, code, out, complaint)
		}
		if acl.New(acl.Options{Secret: hash}).CheckSecret(test.secret) != acl.Matches {
			t.Errorf("%q: %q does not fit", test.input, hash)
		}
	}
	for _, test := range []struct {
		input string
		args  []string
		code  int
		want  string
	}{
		{"", nil, exitFailed, "there is none on the standard input"},
		{"\n", nil, exitFailed, "the secret is empty"},
		{strings.Repeat("x", 73), []string{"--bcrypt"}, exitFailed, "72 bytes"},
		{strings.Repeat("x", 1<<20), nil, exitFailed, "4096 bytes"},
		{"", []string{"s3cret"}, exitUsage, "command line"},
	} {
		code, out, complaint := hashOf(test.input, test.args...)
		if code != test.code || out != "" || !strings.Contains(complaint, test.want) || strings.Contains(complaint, "s3cret") {
			t.Errorf("%.20q %q: %d, %q, %q", test.input, test.args, code, out, complaint)
		}
	}
}
