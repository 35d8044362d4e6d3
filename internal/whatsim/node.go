package whatsim

import (
	"encoding/binary"
	"errors"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

type (
	node  = waBinary.Node
	attrs = waBinary.Attrs
)

var errBadKey = errors.New("malformed key")

// content gives a node's bytes: what a client sends as bytes may decode as a string, when the encoder packed it.
func content(n node) []byte {
	switch v := n.Content.(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	return nil
}

// asBytes makes a client's nodes fit to be sent on: strings in contents become bytes, all the way down.
func asBytes(list []node) []node {
	out := make([]node, len(list))
	for i, n := range list {
		out[i] = node{Tag: n.Tag, Attrs: n.Attrs}
		if kids := n.GetChildren(); kids != nil {
			out[i].Content = asBytes(kids)
		} else if b := content(n); b != nil {
			out[i].Content = b
		}
	}
	return out
}

func text(n *node, key string) string {
	s, _ := n.Attrs[key].(string) // absent is empty
	return s
}

func jidOf(n *node, key string) (types.JID, bool) {
	jid, ok := n.Attrs[key].(types.JID)
	return jid, ok
}

func firstChild(n *node) string {
	if kids := n.GetChildren(); len(kids) > 0 {
		return kids[0].Tag
	}
	return ""
}

// uint32Bytes gives v as 4 big-endian bytes; key ids are the last 3 of them.
func uint32Bytes(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func readUint(b []byte) uint32 {
	var v uint32
	for _, c := range b {
		v = v<<8 | uint32(c)
	}
	return v
}

func keyNode(k *keys.PreKey) node {
	kids := []node{{Tag: "id", Content: uint32Bytes(k.KeyID)[1:]}, {Tag: "value", Content: k.Pub[:]}}
	if k.Signature == nil {
		return node{Tag: "key", Content: kids}
	}
	return node{Tag: "skey", Content: append(kids, node{Tag: "signature", Content: k.Signature[:]})}
}

// publicKey is the public half of a prekey that a client has uploaded.
type publicKey struct {
	ID  uint32
	Pub [32]byte
}

func parseKey(n node) (publicKey, error) {
	id, value := content(n.GetChildByTag("id")), content(n.GetChildByTag("value"))
	if len(value) != 32 || len(id) > 4 {
		return publicKey{}, errBadKey
	}
	return publicKey{ID: readUint(id), Pub: [32]byte(value)}, nil
}
