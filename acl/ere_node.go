package acl

import (
	"fmt"
	"strings"
)

// endless is a repetition without an upper bound.
const endless = -1

// node is a part of an expression.
type node struct {
	shape
	kind        nodeKind
	text        string  // of a set, in the syntax of package regexp
	anchor      rune    // one of ^$bB<>`'
	parts       []*node // of the others
	least, most int     // of a repetition
	size        int     // instructions, about
}

type nodeKind int

const (
	kindBranch nodeKind = iota // parts, one after the other
	kindAlternatives
	kindRepeat // of one part
	kindSet    // one character
	kindAnchor
)

// shape is what a node may match, as far as the anchors beside it must know.
type shape struct {
	nullable bool // it may be the empty text
	anchored bool // there are anchors within, which may forbid what is said here
	// A text may begin with a line feed, end with one, be one.
	feedFirst, feedLast, feedAlone bool
	// Every text but the empty one begins, or ends, with a character of a word.
	wordFirst, wordLast bool
}

// empty is the shape of the empty text.
var empty = shape{nullable: true, wordFirst: true, wordLast: true}

// join is the shape of a and b behind it.
func join(a, b shape) shape {
	return shape{
		nullable:  a.nullable && b.nullable,
		anchored:  a.anchored || b.anchored,
		feedFirst: a.feedFirst || a.nullable && b.feedFirst,
		feedLast:  b.feedLast || b.nullable && a.feedLast,
		feedAlone: a.feedAlone && b.nullable || a.nullable && b.feedAlone,
		wordFirst: a.wordFirst && (!a.nullable || b.wordFirst),
		wordLast:  b.wordLast && (!b.nullable || a.wordLast),
	}
}

// repeated is the shape of a, some times.
func (a shape) repeated(least, most int) shape {
	a.feedAlone = a.feedAlone && (least <= 1 || a.nullable)
	a.nullable = a.nullable || least == 0
	return a
}

func newBranch(parts []*node) *node {
	if len(parts) == 1 {
		return parts[0]
	}
	n := &node{kind: kindBranch, parts: parts, shape: empty}
	for _, part := range parts {
		n.shape = join(n.shape, part.shape)
		n.size += part.size
	}
	return n
}

func newAlternatives(branches []*node) *node {
	if len(branches) == 1 {
		return branches[0]
	}
	n := &node{kind: kindAlternatives, parts: branches}
	n.wordFirst, n.wordLast = true, true
	for _, b := range branches {
		n.nullable = n.nullable || b.nullable
		n.anchored = n.anchored || b.anchored
		n.feedFirst = n.feedFirst || b.feedFirst
		n.feedLast = n.feedLast || b.feedLast
		n.feedAlone = n.feedAlone || b.feedAlone
		n.wordFirst = n.wordFirst && b.wordFirst
		n.wordLast = n.wordLast && b.wordLast
		n.size += b.size + 1
	}
	return n
}

func newRepeat(part *node, least, most int) *node {
	if most == 0 {
		return newBranch(nil) // glibc too forgets the part.
	}
	return &node{
		kind: kindRepeat, parts: []*node{part}, least: least, most: most,
		shape: part.repeated(least, most), size: part.size*max(least, most, 1) + 1,
	}
}

func newAnchor(which rune) *node {
	n := &node{kind: kindAnchor, anchor: which, shape: empty, size: 1}
	n.anchored = true
	return n
}

// translate writes n for package regexp. before and after are the shapes of all
// that is before n and after it, up to the ends of the expression.
func (n *node) translate(before, after shape) (string, error) {
	switch n.kind {
	case kindSet:
		return n.text, nil
	case kindAnchor:
		return n.translateAnchor(before, after)
	case kindRepeat:
		part := n.parts[0]
		if n.most != 1 {
			others := part.repeated(0, endless)
			before, after = join(before, others), join(others, after)
		}
		text, err := part.translate(before, after)
		return `(?:` + text + `)` + interval(n.least, n.most), err
	case kindAlternatives:
		texts := make([]string, len(n.parts))
		for i, part := range n.parts {
			var err error
			if texts[i], err = part.translate(before, after); err != nil {
				return "", err
			}
		}
		return `(?:` + strings.Join(texts, "|") + `)`, nil
	}
	return n.translateBranch(before, after)
}

func (n *node) translateBranch(before, after shape) (string, error) {
	afters := make([]shape, len(n.parts))
	for i := len(n.parts) - 1; i >= 0; i-- {
		afters[i] = after
		after = join(n.parts[i].shape, after)
	}
	var b strings.Builder
	for i, part := range n.parts {
		text, err := part.translate(before, afters[i])
		if err != nil {
			return "", err
		}
		b.WriteString(text)
		before = join(before, part.shape)
	}
	if b.Len() == 0 {
		return `(?:)`, nil
	}
	return b.String(), nil
}

func interval(least, most int) string {
	switch {
	case least == 0 && most == endless:
		return "*"
	case least == 1 && most == endless:
		return "+"
	case least == 0 && most == 1:
		return "?"
	case most == endless:
		return fmt.Sprintf("{%d,}", least)
	}
	return fmt.Sprintf("{%d,%d}", least, most)
}

// translateAnchor writes an anchor. ^ and $ are the ends of the text, but glibc lets
// them match at a line feed too, in spite of a missing REG_NEWLINE, if that line feed
// is part of the match (regcomp.c and regexec.c: build_trtable,
// group_nodes_into_DFAstates). So "Event: A.*^Channel: B" is a filter that works.
func (n *node) translateAnchor(before, after shape) (string, error) {
	switch n.anchor {
	case '^':
		switch {
		case !before.feedLast:
			return `\A`, nil
		case !before.nullable || before.feedAlone && !before.anchored:
			return `(?m:^)`, nil
		}
	case '$':
		switch {
		case !after.feedFirst:
			return `\z`, nil
		case !after.nullable || after.feedAlone && !after.anchored:
			return `(?m:$)`, nil
		}
	case '<':
		if after.wordFirst && !after.nullable {
			return `\b`, nil
		}
	case '>':
		if before.wordLast && !before.nullable {
			return `\b`, nil
		}
	case '`':
		return `\A`, nil
	case '\'':
		return `\z`, nil
	case 'b', 'B':
		return `\` + string(n.anchor), nil
	}
	name := string(n.anchor)
	if n.anchor == '<' || n.anchor == '>' {
		return "", fmt.Errorf(`\%s is supported only beside a letter, a digit, _ or \w`, name)
	}
	return "", fmt.Errorf("%s is not supported here, where a line feed is beside it or not", name)
}
