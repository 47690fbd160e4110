package codecs

import "testing"

const impressionJSON = `{"impression_id":"5f0c7b1e-93a4-4c1d-8a52-3d0e6f9b7a11","event_ts":1700000000123,` +
	`"user_id":"0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d","advertiser_id":"adv-7",` +
	`"auction_id":"c0ffee00-1234-4bcd-9e8f-001122334455","pixel_id":"px-7-2","campaign_id":"cmp-7-31","price":1.37}`

func impressionSpec() DecodeSpec {
	return DecodeSpec{
		ID:   Field{Name: "impression_id", Type: String},
		Time: Field{Name: "event_ts", Type: Time},
		Slots: []Field{
			{Name: "user_id", Type: String}, {Name: "advertiser_id", Type: String}, {Name: "auction_id", Type: String},
			{Name: "pixel_id", Type: String}, {Name: "campaign_id", Type: String}, {Name: "price", Type: Decimal},
		},
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, bench := range []struct {
		name   string
		fields int
	}{{"all_fields", 6}, {"two_fields", 2}} {
		b.Run(bench.name, func(b *testing.B) {
			spec := impressionSpec()
			spec.Slots = spec.Slots[:bench.fields]
			d := NewDecoder(spec)
			data := []byte(impressionJSON)
			var ev Event
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(data, &ev); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
