//go:build unix

package test

import "testing"

func fromActions(tb testing.TB, st *stage, majors []int) []scenario { return nil }
