package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/amiproxy/amiproxy/ajam"
	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/internal/simpbx"
	"github.com/amiproxy/amiproxy/proxy"
)

// demoConfig is the demo's configuration; its verbs are the ports of the two
// PBXes.
const demoConfig = `
[general]
webenabled = yes

[http]
enable_static = yes

[pbx:east]
host = 127.0.0.1
port = %d
username = proxy
secret = upstream-secret

[pbx:west]
host = 127.0.0.1
port = %d
username = proxy
secret = upstream-secret

[demo]                   ; everything, on both PBXes
secret = demo
read = all
write = all

[wallboard]              ; sees the queues of west, and can do nothing
secret = wallboard
read = agent
pbx = west

[operator]               ; the actions of the operator, and nothing else
secret = operator
proxyadmin = yes
`

// demoEndpoints are the telephones of the two PBXes.
var demoEndpoints = [2][]simpbx.Endpoint{
	{{Name: "alice", Number: "100"}, {Name: "bob", Number: "101"}, {Name: "carol", Number: "102"}},
	{{Name: "dave", Number: "200"}, {Name: "erin", Number: "201"}, {Name: "frank", Number: "202"}},
}

func members(endpoints []simpbx.Endpoint) (names []string) {
	for _, e := range endpoints {
		names = append(names, e.Name)
	}
	return names
}

// demoText tells how to see it work; its verbs are the proxy's ports, for AMI and
// for HTTP.
const demoText = `
amiproxy demo: two simulated PBXes, east and west, behind a proxy on 127.0.0.1:%[1]d, and by HTTP on 127.0.0.1:%[2]d.
Paste these lines into another terminal (with bash):

1. Log in, and watch the calls of both PBXes for 10 seconds; every event of a PBX names its Server:
  bash -c 'exec 3<>/dev/tcp/127.0.0.1/%[1]d; printf "Action: Login\r\nUsername: demo\r\nSecret: demo\r\n\r\n" >&3; timeout 10 cat <&3'

2. Ask for the channels of both PBXes in one list, start a call on east, and log off; each answer has its ActionID, each item its Server, and Goodbye comes last:
  bash -c 'exec 3<>/dev/tcp/127.0.0.1/%[1]d; printf "Action: Login\r\nUsername: demo\r\nSecret: demo\r\nEvents: off\r\n\r\nAction: CoreShowChannels\r\nActionID: 1\r\n\r\nAction: Originate\r\nActionID: 2\r\nServer: east\r\nChannel: PJSIP/alice\r\nExten: 101\r\nContext: default\r\nPriority: 1\r\nAsync: yes\r\n\r\nAction: Logoff\r\n\r\n" >&3; cat <&3'

3. The same as a wallboard, which may only read agent events of west: the call is refused, queue events come:
  bash -c 'exec 3<>/dev/tcp/127.0.0.1/%[1]d; printf "Action: Login\r\nUsername: wallboard\r\nSecret: wallboard\r\n\r\nAction: Originate\r\nActionID: 2\r\nChannel: PJSIP/dave\r\nExten: 201\r\nContext: default\r\nPriority: 1\r\n\r\n" >&3; timeout 20 cat <&3'

4. As the operator: how the proxy and its PBXes are doing, and who is connected:
  bash -c 'exec 3<>/dev/tcp/127.0.0.1/%[1]d; printf "Action: Login\r\nUsername: operator\r\nSecret: operator\r\n\r\nAction: ProxyStatus\r\nActionID: 1\r\n\r\nAction: ProxySessions\r\nActionID: 2\r\n\r\nAction: Logoff\r\n\r\n" >&3; cat <&3'

5. By HTTP (AJAM), with curl: log in, ask for the channels as XML, and wait for an event:
  bash -c 'ask() { curl -s -b "$jar" -c "$jar" "http://127.0.0.1:%[2]d/$1"; }; jar=$(mktemp); ask "rawman?action=login&username=demo&secret=demo"; ask "mxml?action=coreshowchannels"; ask "rawman?action=waitevent"; rm "$jar"'

6. In a browser: open http://127.0.0.1:%[2]d/static/, and log in as demo with secret demo: the live channels of both PBXes

Or point any AMI client at 127.0.0.1:%[1]d, user demo, secret demo. Ctrl-C stops.
`

func demoCommand() *cobra.Command {
	var port, httpPort uint16
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the proxy in front of two simulated PBXes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), port, httpPort, cmd.OutOrStdout(), newLogger(cmd.ErrOrStderr(), zapcore.WarnLevel))
		},
	}
	cmd.Flags().Uint16Var(&port, "port", 5038, "port for AMI clients on 127.0.0.1; 0: any that is free")
	cmd.Flags().Uint16Var(&httpPort, "http-port", 8088, "port for HTTP on 127.0.0.1; 0: any that is free")
	return cmd
}

// demo runs until ctx ends.
func demo(ctx context.Context, port, httpPort uint16, out io.Writer, log *zap.Logger) error {
	hup, stop := hangups()
	defer stop()
	var ports []any
	for i := range uint64(2) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return failure{fmt.Errorf("start a simulated PBX: %w", err)}
		}
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		p := simpbx.New(simpbx.Options{
			Calls: 0.4, RTCP: 0.2, Seed: i + 1,
			Endpoints: demoEndpoints[i],
			Queues:    []simpbx.Queue{{Name: "support", Members: members(demoEndpoints[i])}},
		})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := p.Serve(l); !errors.Is(err, simpbx.ErrClosed) {
				log.Error("simulated PBX ended", zap.Error(err))
			}
		}()
		defer func() {
			p.Close()
			<-ended
		}()
	}
	text := fmt.Sprintf(demoConfig, ports...)
	cfg, err := config.Loader{}.Parse("demo.conf", []byte(text))
	if err != nil {
		return failure{err}
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	cfg.General.BindAddr = netip.AddrPortFrom(loopback, port)
	cfg.HTTP.BindAddr = netip.AddrPortFrom(loopback, httpPort)
	return runServer(ctx, cfg, nil, hup, log, func(srv *proxy.Server, web *ajam.Server) {
		waitUp(ctx, srv)
		fmt.Fprintf(out, demoText, srv.Addrs()[0].(*net.TCPAddr).Port, web.Addrs()[0].(*net.TCPAddr).Port)
	})
}

// waitUp waits until every PBX is connected, so that what is printed works.
func waitUp(ctx context.Context, srv *proxy.Server) {
	for _, b := range srv.Backends() {
		for !b.Up() {
			select {
			case <-ctx.Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}
