package ami

// ActionKind says what the answer to an action looks like.
type ActionKind uint8

const (
	// KindSingle is answered by one response, which opens no list whatever it
	// says.
	KindSingle ActionKind = iota
	// KindList is answered by a response that may open a list of events (Hangup
	// does for a /regex/), which ends with one that says so (EventList:
	// Complete). Asterisk 12 and older do not announce all of their lists.
	KindList
	// KindUncertain has an answer whose end cannot be told from the answer, in
	// one release at least: raw text (IAXnetstats), no response (SKINNYshowline;
	// in 1.8 SIPqualifypeer), two of them (PRIDebugSet goes on after its error),
	// empty lines behind it (SIPshowpeer), a list that may break off, an event
	// that may never come.
	KindUncertain
	// KindSession acts on the session that sends it, and never goes to a PBX.
	KindSession
)

// ActionInfo is what is known of an action from Asterisk's source.
type ActionInfo struct {
	Name string
	// Classes is its authority in the newest Asterisk: a session needs any one
	// of them to run it. ClassNone: everybody may.
	Classes Class
	Kind    ActionKind
	// Legacy marks an action that the newest Asterisk has no more.
	Legacy bool
	// Reads marks an action that changes nothing, but for what functions do that
	// it is told to read (Getvar, Status). All others, and those that are not
	// known, may change something.
	Reads bool
}

// maxActionName is beyond the longest name in the table.
const maxActionName = 64

var actionsByName = func() map[string]*ActionInfo {
	m := make(map[string]*ActionInfo, len(actionTable))
	for i := range actionTable {
		m[FoldName(actionTable[i].Name)] = &actionTable[i]
	}
	return m
}()

// LookupAction finds an action by its name, compared without case. The result
// is shared and must not be changed.
func LookupAction(name string) (*ActionInfo, bool) {
	var buf [maxActionName]byte // on the stack: this is asked of every action
	if len(name) > len(buf) {
		return nil, false
	}
	for i := range len(name) {
		buf[i] = FoldByte(name[i])
	}
	info, ok := actionsByName[string(buf[:len(name)])]
	return info, ok
}

// Actions are all known actions, in the order of their names. The slice is
// shared and must not be changed.
func Actions() []ActionInfo { return actionTable[:] }

// FoldName is a name as a map key: ASCII letters in lower case, as Asterisk
// compares names of actions, headers and users. A name that is in lower case
// already is returned as it is.
func FoldName(name string) string {
	for i := range len(name) {
		if FoldByte(name[i]) != name[i] {
			b := []byte(name)
			for j := range b {
				b[j] = FoldByte(b[j])
			}
			return string(b)
		}
	}
	return name
}
