// Package backend is one PBX as the proxy sees it: it keeps its links logged
// in, sends actions, matches answers and hands out events.
package backend
