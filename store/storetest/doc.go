// Package storetest is one suite that every log passes. Each of its cases is named after
// the rule of package store that it guards.
//
//	func TestLog(t *testing.T) {
//		storetest.Test(t, storetest.Subject{Open: func(t *testing.T) store.Log { … }})
//	}
package storetest
