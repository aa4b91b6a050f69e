// Package ajam serves AMI over HTTP as Asterisk does: what lies between net/http and
// the sessions of package proxy. It knows forms, formats and Digest; what a client may
// do and see is the session's. Facts are from manager.c (generic_http_callback,
// auth_http_callback, xml_translate) and http.c.
//
//	web, err := ajam.New(ajam.Options{BindAddr: addr, …}, srv, log)
//	err = web.Start()
//	…
//	go web.Shutdown(timeout)
//	srv.Shutdown(timeout) // what waits for something ends with its session
package ajam
