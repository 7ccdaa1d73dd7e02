// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

const opening = "<objects>"

var (
	pages = map[string][]string{} // what is still to come, by token
	said  []string                // texts and what is said for them
)

func escaped(text string) string {
	var written bytes.Buffer
	xml.EscapeText(&written, []byte(text))
	return written.String()
}

// retrieve lets the simulator answer, and gives the answer in pages: it ignores maxObjects, which a server does not.
func retrieve(w http.ResponseWriter, r *http.Request, next http.Handler, request *types.RetrievePropertiesEx) {
	recorded := httptest.NewRecorder()
	next.ServeHTTP(recorded, r)
	mu.Lock()
	body := strings.NewReplacer(said...).Replace(recorded.Body.String())
	mu.Unlock()
	parts := strings.Split(body, opening)
	size := int(request.Options.MaxObjects)
	if recorded.Code != http.StatusOK || size == 0 || len(parts)-1 <= size {
		w.WriteHeader(recorded.Code)
		io.WriteString(w, body)
		return
	}
	last := len(parts) - 1
	if end := strings.LastIndex(parts[last], "</objects>"); end >= 0 {
		parts[last] = parts[last][:end+len("</objects>")]
	}
	page(w, "RetrievePropertiesExResponse", parts[1:], size)
}

func proceed(w http.ResponseWriter, request *types.ContinueRetrievePropertiesEx) {
	mu.Lock()
	rest := pages[request.Token]
	delete(pages, request.Token)
	mu.Unlock()
	page(w, "ContinueRetrievePropertiesExResponse", rest, 0)
}

func page(w http.ResponseWriter, kind string, objects []string, size int) {
	token := ""
	if size == 0 {
		size = 500
	}
	if len(objects) > size {
		id := uuid.New().String()
		mu.Lock()
		pages[id] = objects[size:]
		mu.Unlock()
		token, objects = "<token>"+id+"</token>", objects[:size]
	}
	fmt.Fprintf(w, `%s<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" `+
		`xmlns:xsd="http://www.w3.org/2001/XMLSchema"><soapenv:Body><%s xmlns="urn:vim25"><returnval>%s%s%s</returnval></%s></soapenv:Body></soapenv:Envelope>`,
		xml.Header, kind, token, opening, strings.Join(objects, opening), kind)
}
