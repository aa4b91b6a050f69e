package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amiproxy/amiproxy/acl"
)

func hashCommand() *cobra.Command {
	var useBcrypt bool
	cmd := &cobra.Command{
		Use:   "hash",
		Short: "Make the hash of a secret for the secret of a user",
		Long: `Make the hash of a secret for the secret of a user.

It asks for the secret on a terminal, without showing it; otherwise the first
line of the standard input is the secret. It prints the hash, which may stand in
the place of the secret in a user section or a secretfile.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return errors.New("amiproxy hash takes no secret on its command line, where others could see it: it asks for it, or reads it from its standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret, err := readSecret(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return failure{err}
			}
			hash, err := acl.HashSecret(secret, useBcrypt)
			if err != nil {
				return failure{err}
			}
			fmt.Fprintln(cmd.OutOrStdout(), hash)
			return nil
		},
	}
	cmd.Flags().BoolVar(&useBcrypt, "bcrypt", false, "bcrypt instead of argon2id")
	return cmd
}

// readSecret reads a secret: from a terminal twice and without echo, from anything
// else its first line.
func readSecret(ctx context.Context, in io.Reader, prompt io.Writer) (string, error) {
	terminal, ok := in.(*os.File)
	restore := func() {}
	if ok {
		restore, ok = hideInput(terminal)
	}
	lines := bufio.NewReader(in)
	if !ok {
		return readLine(ctx, lines)
	}
	defer restore()
	var typed [2]string
	for i, ask := range []string{"Secret: ", "Again: "} {
		fmt.Fprint(prompt, ask)
		var err error
		typed[i], err = readLine(ctx, lines)
		fmt.Fprintln(prompt)
		if err != nil {
			return "", err
		}
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two secrets differ: nothing was made")
	}
	return typed[0], nil
}

// maxInput is more than any secret can have.
const maxInput = 4096

// readLine reads a line without its end, until ctx ends.
func readLine(ctx context.Context, in *bufio.Reader) (string, error) {
	type result struct {
		line string
		err  error
	}
	read := make(chan result, 1)
	go func() {
		var line []byte
		for {
			c, err := in.ReadByte()
			switch {
			case err == io.EOF && len(line) == 0:
				read <- result{err: errors.New("read the secret: there is none on the standard input")}
				return
			case err != nil && err != io.EOF:
				read <- result{err: fmt.Errorf("read the secret: %w", err)}
				return
			case err == io.EOF || c == '\n':
				read <- result{line: strings.TrimSuffix(string(line), "\r")}
				return
			case len(line) == maxInput:
				read <- result{err: fmt.Errorf("read the secret: more than %d bytes without a line end", maxInput)}
				return
			}
			line = append(line, c)
		}
	}()
	select {
	case r := <-read:
		return r.line, r.err
	case <-ctx.Done():
		return "", errors.New("interrupted: nothing was made")
	}
}
