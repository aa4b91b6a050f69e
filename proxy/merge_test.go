package proxy

import (
	"bytes"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/ami"
)

// text makes frames of lines: an empty one ends a frame.
func text(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

// pieces cuts an answer into pieces of so many frames.
func pieces(size int, answer string) (all [][]byte) {
	n := 0
	for f := range ami.Frames([]byte(answer)) {
		if n%size == 0 {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], f...)
		n++
	}
	return all
}

func TestMergeAnswers(t *testing.T) {
	channels := func(server, n string, items ...string) string {
		all := text("Response: Success", "ActionID: 1", "EventList: start", "Message: Channels will follow", "Server: "+server)
		for _, item := range items {
			all += text("Event: CoreShowChannel", "ActionID: 1", "Channel: "+item, "Server: "+server)
		}
		return all + text("Event: CoreShowChannelsComplete", "ActionID: 1", "EventList: Complete", "ListItems: "+n, "Server: "+server)
	}
	failure := func(server, message string) string {
		return text("Response: Error", "ActionID: 1", "Message: "+message, "Server: "+server)
	}
	merged := func(n, missing string, items ...string) string {
		all := text("Response: Success", "ActionID: 1", "EventList: start", "Message: Channels will follow")
		for _, item := range items {
			channel, server, _ := strings.Cut(item, "@")
			all += text("Event: CoreShowChannel", "ActionID: 1", "Channel: "+channel, "Server: "+server)
		}
		end := []string{"Event: CoreShowChannelsComplete", "ActionID: 1", "EventList: Complete", "ListItems: " + n}
		if missing != "" {
			end = append(end, "Missing: "+missing)
		}
		return all + text(end...)
	}
	for _, c := range []struct {
		name, action string
		parts        []string // of east, west and north; "": it could not answer
		want         string
	}{
		{"all items", "coreshowchannels", []string{channels("east", "2", "a", "b"), channels("west", "0"), channels("north", "1", "c")},
			merged("3", "", "a@east", "b@east", "c@north")},
		{"one is missing", "coreshowchannels", []string{"", channels("west", "1", "a"), channels("north", "0")}, merged("1", "east", "a@west")},
		{"one fails", "coreshowchannels", []string{channels("east", "1", "a"), failure("west", "Broken"), ""}, merged("1", "west,north", "a@east")},
		{"an error that means empty", "pjsipshowauths", []string{channels("east", "1", "a"), failure("west", "No Auths found"), failure("north", "No Auths found")},
			merged("1", "", "a@east")},
		{"all are empty", "pjsipshowauths", []string{failure("east", "No Auths found"), failure("west", "No Auths found"), ""},
			text("Response: Error", "ActionID: 1", "Message: No Auths found", "Missing: north")},
		{"all are empty, none away", "pjsipshowauths", []string{failure("east", "No Auths found"), failure("west", "No Auths found"), failure("north", "No Auths found")},
			text("Response: Error", "ActionID: 1", "Message: No Auths found")},
		{"all fail", "coreshowchannels", []string{"", failure("west", "One"), failure("north", "Two")}, text("Response: Error", "ActionID: 1", "Message: One")},
		{"empty before failed", "showdialplan", []string{failure("east", "Broken"), failure("west", "Did not find context x"), ""},
			text("Response: Error", "ActionID: 1", "Message: Did not find context x", "Missing: east,north")},
		{"one breaks off", "showdialplan", []string{text("Response: Success", "EventList: start", "Server: east") + text("Event: ListDialplan", "Server: east") + failure("east", "Did not find extension x"), channels("west", "1", "a"), channels("north", "0")},
			merged("1", "east", "a@west")},
		{"success with nothing", "voicemailuserslist", []string{text("Response: Success", "Message: There are no voicemail users currently defined.", "Server: east"), channels("west", "1", "a"), ""},
			merged("1", "north", "a@west")},
		{"nobody", "status", []string{"", "", ""}, ""},
	} {
		for size := 1; size < 5; size++ {
			var parts []mergePart
			for i, name := range []string{"east", "west", "north"} {
				parts = append(parts, mergePart{name: name, answer: pieces(size, c.parts[i])})
			}
			if got := string(bytes.Join(mergeAnswers(c.action, parts), nil)); got != c.want {
				t.Errorf("%s, in pieces of %d frames:\n got %q\nwant %q", c.name, size, got, c.want)
			}
		}
	}
}

// Counts of any name add up, what is true of one PBX only goes, and lists of old
// PBXes end without saying so.
func TestMergeCompletions(t *testing.T) {
	start := text("Response: Success", "EventList: start")
	got := bytes.Join(mergeAnswers("parkedcalls", []mergePart{
		{name: "east", answer: pieces(9, start+text("Event: ParkedCallsComplete", "EventList: Complete", "ListItems: 2", "Total: 2", "Note: x", "Server: east"))},
		{name: "west", answer: pieces(9, start+text("Event: ParkedCallsComplete", "EventList: Complete", "ListItems: 3", "Total: 3", "Server: west"))},
	}), nil)
	if want := start + text("Event: ParkedCallsComplete", "EventList: Complete", "ListItems: 5", "Total: 5"); string(got) != want {
		t.Errorf("got %q", got)
	}
	old := text("Response: Success", "Message: Channel status will follow")
	got = bytes.Join(mergeAnswers("status", []mergePart{
		{name: "east", answer: pieces(9, old+text("Event: Status", "Channel: a", "Server: east")+text("Event: StatusComplete", "Items: 1", "Server: east"))},
		{name: "west", answer: pieces(9, old+text("Event: StatusComplete", "Items: 0", "Server: west"))},
	}), nil)
	if want := old + text("Event: Status", "Channel: a", "Server: east") + text("Event: StatusComplete", "Items: 1"); string(got) != want {
		t.Errorf("got %q", got)
	}
}
