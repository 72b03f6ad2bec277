// Package access says who a caller is and what it may use: by the key or the client
// certificate that it presents, and the credentials of the configuration.
//
// [List.Authorize] decides on a call before its body is read: methods are allowed by a
// list, and one that is not on it is refused to everybody. What the request then names is
// asked of the [Credential]: its organization, project and priority class.
//
// # Keys
//
// A key is kept as its SHA-256 only. What is presented is hashed, found by a keyed hash of
// that, and compared in constant time, so that the time a look-up takes says nothing of the
// hashes there are. No error holds a key or a hash.
package access
