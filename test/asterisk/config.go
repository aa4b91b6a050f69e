package asterisk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// modules are loaded by every PBX, as far as its release has them: what makes calls,
// events and actions, and nothing that needs a database, the network or a sound card.
// To boot with all that Debian packs takes almost twice as long.
var modules = []string{
	"app_*", "bridge_*", "func_*", "codec_*", "format_*",
	"cdr_manager", "cel_manager", "chan_pjsip", "chan_bridge_media", "chan_rtp", "res_rtp_multicast",
	"pbx_config", "pbx_spool",
	"res_agi", "res_clioriginate", "res_convert", "res_crypto", "res_http_websocket",
	"res_format_attr_*", "res_limit", "res_manager_*", "res_musiconhold", "res_mutestream",
	"res_parking", "res_pjproject", "res_pjsip*", "res_rtp_asterisk", "res_security_log",
	"res_sorcery_*", "res_speech", "res_stasis*", "res_timing_timerfd", "res_tonedetect",
	"res_adsi", "res_smdi", // Voicemail wants them.
}

// withheld are not, although a pattern in modules matches them: they want a service or
// a configuration that is not there. (Who adds modules: res_hep delays every stop by
// ten seconds.)
var withheld = []string{
	"app_adsiprog", "app_audiosocket", "app_stasis", "app_stasis_broadcast", "app_alarmreceiver", "app_festival", "app_getcpeid", "app_jack", "app_mp3", "app_minivm",
	"app_voicemail_imap", "app_voicemail_odbc", "app_test", "app_skel", "app_ices", "app_image", "app_url", "app_nbscat",
	"app_flash", "app_dahdiras", "app_meetme",
	"func_odbc", "func_curl", "func_realtime", "func_speex", "func_pitchshift", "func_enum", "func_frame_trace",
	"codec_dahdi", "codec_codec2", "codec_lpc10", "codec_speex", "codec_opus_open_source", "codec_amr",
	"format_ogg_*", "format_vox", "format_jpeg",
	"res_pjsip_phoneprov_provider", "res_pjsip_stir_shaken", "res_pjsip_geolocation", "res_pjsip_history",
	"res_pjsip_transport_websocket", "res_sorcery_realtime", "res_stasis_test", "res_stasis_mailbox", "res_stasis_broadcast",
	"res_pjsip_config_wizard",
}

// configure writes the whole configuration of p into its folder, which it makes anew.
func (p *PBX) configure() error {
	if err := os.RemoveAll(p.path("")); err != nil {
		return err
	}
	for _, name := range []string{"etc", "lib/keys", "log", "moh", "run", "spool"} {
		if err := os.MkdirAll(p.path(name), 0o755); err != nil {
			return err
		}
	}
	// Music on hold, without which a held call raises no event of it: a second of silence.
	if err := os.WriteFile(p.path("moh/silence.sln"), make([]byte, 16000), 0o644); err != nil {
		return err
	}
	moduleDir, err := findModules(p.root)
	if err != nil {
		return err
	}
	files := map[string]string{
		"asterisk.conf":   p.asteriskConf(moduleDir),
		"modules.conf":    p.modulesConf(moduleDir),
		"manager.conf":    p.managerConf(),
		"http.conf":       p.httpConf(),
		"extensions.conf": extensionsConf + p.o.Extensions + "\n",
		"pjsip.conf":      fmt.Sprintf(pjsipConf, p.ports.sip()),
		"rtp.conf":        p.rtpConf(),
		"queues.conf":     queuesConf,
		"agents.conf":     "[general]\n[1001]\nfullname = Agent One\n",
		"voicemail.conf":  "[general]\nformat = wav\n[default]\n100 => 1234,Alice\n",
		"res_parking.conf": "[general]\n[default]\nparkext = 700\nparkpos = 701-720\n" +
			"context = parkedcalls\nparkingtime = 45\n",
		"confbridge.conf":  "[general]\n[default_user]\ntype = user\n[default_bridge]\ntype = bridge\n",
		"cel.conf":         "[general]\nenable = yes\napps = all\nevents = ALL\n[manager]\nenabled = yes\n",
		"cdr.conf":         "[general]\nenable = yes\n",
		"cdr_manager.conf": "[general]\nenabled = yes\n",
		"logger.conf":      "[general]\ndateformat = %F %T.%3q\n[logfiles]\nmessages.log => notice,warning,error,security\n",
		"indications.conf": "[general]\ncountry = us\n[us]\ndescription = United States\n" +
			"ringcadence = 2000,4000\ndial = 350+440\nbusy = 480+620/500,0/500\nring = 440+480/2000,0/4000\ncongestion = 480+620/250,0/250\n",
		"musiconhold.conf": "[general]\n[default]\nmode = files\ndirectory = " + p.dir + "/moh\n",
		"features.conf":    "[general]\n[featuremap]\n[applicationmap]\n",
	}
	// These are read by modules that complain when they are not there.
	for _, name := range []string{"acl", "ccss", "cli", "cli_aliases", "cli_permissions", "codecs", "dsp", "followme",
		"pjproject", "pjsip_notify", "pjsip_wizard", "queuerules", "sla", "sorcery", "stasis", "udptl", "amd", "dnsmgr", "extconfig", "smdi"} {
		files[name+".conf"] = ""
	}
	if p.o.TLS {
		if p.cert, err = newCertificate(); err != nil {
			return err
		}
		files["cert.pem"] = string(p.cert.certPEM)
		files["tls.pem"] = string(p.cert.certPEM) + string(p.cert.key)
	}
	for name, text := range p.o.Files {
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(p.path("etc/"+name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// findModules returns the folder of the modules, as seen inside the root: Debian moved
// it below the name of the architecture.
func findModules(root string) (string, error) {
	for _, pattern := range []string{"usr/lib/asterisk/modules", "usr/lib/*/asterisk/modules"} {
		found, _ := filepath.Glob(filepath.Join(root, pattern, "pbx_config.so"))
		if len(found) > 0 {
			return strings.TrimPrefix(filepath.Dir(found[0]), root), nil
		}
	}
	return "", errors.New("no modules in " + root)
}

func (p *PBX) asteriskConf(moduleDir string) string {
	var b strings.Builder
	// The data folder stays the package's own: Asterisk does not start without the
	// documentation there.
	fmt.Fprintf(&b, `[directories]
astetcdir => %[1]s/etc
astmoddir => %[2]s
astvarlibdir => %[1]s/lib
astdbdir => %[1]s/lib
astkeydir => %[1]s/lib
astagidir => %[1]s/lib
astdatadir => /usr/share/asterisk
astspooldir => %[1]s/spool
astrundir => %[1]s/run
astlogdir => %[1]s/log
[options]
`, p.dir, moduleDir)
	if p.o.SystemName != "" {
		fmt.Fprintf(&b, "systemname = %s\n", p.o.SystemName)
	}
	b.WriteString(p.o.Core + "\n")
	return b.String()
}

func (p *PBX) modulesConf(moduleDir string) string {
	var b strings.Builder
	b.WriteString("[modules]\nautoload = no\n")
	files, _ := filepath.Glob(filepath.Join(p.root, moduleDir, "*.so"))
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".so")
		if matches(name, p.o.Modules) || matches(name, modules) && !matches(name, withheld) {
			fmt.Fprintf(&b, "load = %s.so\n", name)
		}
	}
	return b.String()
}

func matches(name string, patterns []string) bool {
	for _, pattern := range patterns {
		if ok, _ := filepath.Match(pattern, name); ok {
			return true
		}
	}
	return false
}

func (p *PBX) managerConf() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[general]\nenabled = yes\nport = %d\nbindaddr = 127.0.0.1\n", p.ports.ami())
	if p.o.WebEnabled {
		b.WriteString("webenabled = yes\n")
	}
	if p.o.TLS {
		fmt.Fprintf(&b, "tlsenable = yes\ntlsbindaddr = %s\ntlscertfile = %s/etc/tls.pem\n", p.TLSAddr(), p.dir)
	}
	b.WriteString(p.o.General + "\n")
	for _, user := range [][2]string{{ProxyUser, ProxySecret}, {DirectUser, DirectSecret}} {
		fmt.Fprintf(&b, "[%s]\nsecret = %s\nread = all\nwrite = all\nwritetimeout = 10000\n", user[0], user[1])
	}
	b.WriteString(p.o.Users + "\n")
	return b.String()
}

func (p *PBX) httpConf() string {
	var b strings.Builder
	b.WriteString("[general]\n")
	if p.o.WebEnabled {
		fmt.Fprintf(&b, "enabled = yes\nbindaddr = 127.0.0.1\nbindport = %d\n", p.ports.http())
		if p.o.TLS {
			fmt.Fprintf(&b, "tlsenable = yes\ntlsbindaddr = %s\ntlscertfile = %s/etc/tls.pem\n", p.HTTPSAddr(), p.dir)
		}
	}
	return b.String()
}

func (p *PBX) rtpConf() string {
	first, last := p.ports.rtp()
	return fmt.Sprintf("[general]\nrtpstart = %d\nrtpend = %d\n", first, last)
}

const extensionsConf = `[general]
[globals]
[default]
exten => echo,1,Answer()
 same => n,Wait(30)
 same => n,Hangup()
exten => short,1,Answer()
 same => n,Wait(1)
 same => n,Hangup()
exten => fail,1,Hangup(17)
exten => ue,1,UserEvent(Probe,Key: value)
 same => n,Hangup()
exten => q,1,Answer()
 same => n,Queue(support)
 same => n,Hangup()
exten => agent,1,Answer()
 same => n,AgentRequest(1001)
 same => n,Hangup()
exten => conf,1,Answer()
 same => n,ConfBridge(1)
 same => n,Hangup()
exten => park,1,Answer()
 same => n,Park()
 same => n,Hangup()
exten => _X.,1,Answer()
 same => n,Wait(10)
 same => n,Hangup()
[agents]
exten => login,1,Answer()
 same => n,AgentLogin(1001)
 same => n,Hangup()
exten => _X.,1,Answer()
 same => n,Wait(10)
 same => n,Hangup()
`

const queuesConf = `[general]
persistentmembers = no
[support]
strategy = ringall
timeout = 5
member => Local/100@agents
member => Local/101@agents
[sales]
strategy = ringall
`

const pjsipConf = `[loopback]
type = transport
protocol = udp
bind = 127.0.0.1:%d

[alice]
type = endpoint
context = default
disallow = all
allow = ulaw
aors = alice
[alice]
type = aor
max_contacts = 1

[bob]
type = endpoint
context = default
disallow = all
allow = ulaw
aors = bob
[bob]
type = aor
max_contacts = 1
`
