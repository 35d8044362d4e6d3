package senderapp

import (
	"encoding/hex"

	"wabek/internal/config"
	"wabek/internal/whatsapp"
)

// Place says where WhatsApp is, from its settings.
func Place(w config.WhatsApp) whatsapp.Place {
	if w.Endpoint == "" {
		return whatsapp.Place{}
	}
	return whatsapp.Place{Endpoint: w.Endpoint, RootKey: hex.EncodeToString(w.RootKey[:])}
}
