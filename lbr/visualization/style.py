"""The report's style sheet: light, calm, one column on a phone, and whole on paper."""

from __future__ import annotations

from lbr.visualization import colours as palette

_SHEET = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:#f4f6f8;color:INK;
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:27px;line-height:1.2;margin:0 0 4px;font-weight:650;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:19px;margin:38px 0 12px;font-weight:650}
h3{font-size:16px;margin:20px 0 8px;font-weight:600}
p{margin:0 0 10px}
.soft,figcaption{color:SOFT}
.lead{font-size:16.5px;margin-bottom:20px}
.panel,.card,.tile{background:#fff;border:1px solid #e3e8ec;border-radius:10px}
.panel{padding:16px 18px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:0 0 14px}
.tile{padding:12px 15px}
.tile b{display:block;font-size:24px;font-weight:620;line-height:1.25;letter-spacing:-.01em}
.tile span{color:SOFT;font-size:13px}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:7px 12px 7px 0;text-align:right;border-bottom:1px solid #edf0f3;white-space:nowrap}
th{white-space:normal;font-weight:560;color:SOFT;font-size:13px;vertical-align:bottom}
th:first-child,td:first-child{text-align:left}
tr:last-child td{border-bottom:0}
.none{color:#b4bdc5}
.beside td{color:SOFT;text-align:right}
tr:nth-last-child(2) td[rowspan="2"]{border-bottom:0}
.strips,.stack{display:grid;gap:16px}
.plots>:last-child:nth-child(odd){grid-column:1/-1}
.plots>:last-child:nth-child(odd) svg{max-width:540px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:14px}
svg{display:block;width:100%;height:auto;font-family:inherit}
svg.plan{border-radius:6px;border:1px solid #e3e8ec;background:#f7f9fa}
figure{margin:0;min-width:0}
figure img{display:block;width:100%;height:auto;border-radius:6px}
figure img.tall{width:auto;max-width:100%;max-height:400px}
figcaption{font-size:13px;line-height:1.4;margin-top:6px}
.keyed{white-space:nowrap;margin-right:10px}
.key{display:inline-block;width:11px;height:11px;border-radius:50%;margin:0 4px 0 0;vertical-align:-1px}
.ramp{display:inline-block;width:90px;height:9px;border-radius:5px;vertical-align:0;margin:0 6px}
.card{margin:0 0 14px;overflow:hidden}
.card>summary,.row>summary{cursor:pointer;list-style:none;display:flex;gap:8px 12px;align-items:center;flex-wrap:wrap}
summary::-webkit-details-marker{display:none}
.card>summary{padding:13px 18px;border-left:5px solid var(--status)}
.rows{background:#fff;border:1px solid #e3e8ec;border-radius:10px;overflow:hidden}
.row{border-bottom:1px solid #edf0f3}
.row:last-child{border-bottom:0}
.row>summary{padding:6px 14px 6px 10px;border-left:4px solid var(--status)}
.row .body{padding:4px 18px 12px}
.thumb{width:66px;height:44px;border-radius:4px;flex:none;object-fit:cover;background:#e3e8ec}
.name{font-weight:560;overflow-wrap:anywhere;min-width:0}
.pill{background:var(--status);color:#fff;border-radius:20px;font-size:12.5px;line-height:1;padding:5px 10px;flex:none}
.tag{border:1px solid #d3dae0;border-radius:20px;font-size:12.5px;line-height:1;padding:4px 9px;color:SOFT;flex:none}
.figure{margin-left:auto;font-variant-numeric:tabular-nums;white-space:nowrap}
.body{padding:2px 23px 20px}
.warn{background:#fff6e6;border:1px solid #f0d9ab;border-radius:6px;padding:8px 12px;margin:0 0 12px}
.warn.lacking{margin-top:12px}
.alone{max-width:640px;margin:12px 0 14px}
.pair{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr) minmax(0,2fr);gap:14px;margin:12px 0 14px}
.pair.two{grid-template-columns:minmax(0,5fr) minmax(0,3fr)}
.pair.even{grid-template-columns:repeat(2,minmax(0,1fr))}
.pair.stacked{grid-template-columns:minmax(0,3fr) minmax(0,2fr)}
.pair.photos{grid-template-columns:minmax(0,3fr) minmax(0,3fr) minmax(0,2fr)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(165px,1fr));gap:8px 18px;margin:10px 0 4px}
dt{color:SOFT;font-size:12.5px;line-height:1.3}
dd{margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.blank{display:flex;align-items:center;justify-content:center;text-align:center;background:#dde2e6;color:#56616c;
border-radius:6px;min-height:190px;padding:20px;font-size:14px;overflow-wrap:anywhere}
ul{margin:0;padding-left:20px}
li{overflow-wrap:anywhere}
.problems summary{cursor:pointer;font-weight:560}
.problems[open] summary{margin-bottom:8px}
footer{margin-top:40px;color:SOFT;font-size:13px}
@media screen and (max-width:760px){
main{padding:18px 12px 40px}
h1{font-size:23px}
.pair,.pair.two,.pair.photos,.pair.stacked{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}
.pair:not(.even,.stacked)>:first-child{grid-column:1/-1}
.card>summary{padding:11px 13px}
.body{padding:2px 14px 14px}
.figure{margin-left:0}
.tiles{grid-template-columns:repeat(2,minmax(0,1fr));gap:8px}
.tile b{font-size:20px}
}
@media print{
body{background:#fff;font-size:11pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{max-width:none;padding:0}
h1{font-size:18pt}
h2{font-size:13pt;margin:20pt 0 8pt}
.tiles{grid-template-columns:repeat(6,minmax(0,1fr));gap:6px}
.tile{padding:7px 9px}
.tile b{font-size:13pt}
.tile span,figcaption,dt{font-size:8pt;line-height:1.3}
dd,.body p,.panel ul{font-size:9.5pt}
.wide{overflow:visible}
dl{grid-template-columns:repeat(auto-fill,minmax(1.25in,1fr));gap:4px 10px}
table{font-size:8.5pt}
th{font-size:8pt}
th,td{padding:4px 5px 4px 0;white-space:normal}
.plots{grid-template-columns:repeat(2,minmax(0,1fr))}
.card,.panel,.tile,.row,figure{break-inside:avoid}
h2,h3{break-after:avoid}
}
"""
SHEET = _SHEET.replace("INK", palette.INK).replace("SOFT", palette.SOFT).strip()
